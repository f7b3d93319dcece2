// SPDX-License-Identifier: Apache-2.0

#include "fl_paths.h"
#include "fl_record.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

using namespace simdjson;

static_assert(FL_RECORD_PADDING >= SIMDJSON_PADDING, "simdjson reads this far behind a text");

namespace {

constexpr uint32_t none = UINT32_MAX;

/// A node of the tree of paths as they were added.
struct Branch {
    std::map<std::string, uint32_t> keys;
    std::map<uint32_t, uint32_t> indexes;
    uint32_t every = none;
    /// Whether a `[*]` lies above.
    bool in_element = false;
    /// Paths that end here.
    std::vector<uint32_t> ends;
};

/// What may be going on at one place of a text: a set of branches, since `[0]` and `[*]` both go into the first element.
/// A value can be read only once, so the sets are worked out beforehand and the text is walked with one state.
struct State {
    struct Key {
        std::string text;
        uint32_t state;
        /// Holds a character that JSON may or must write as an escape, so only the unescaped form can be compared.
        bool plain;
    };
    std::vector<Key> keys;
    std::vector<std::pair<uint32_t, uint32_t>> indexes;
    uint32_t every = none;
    std::vector<uint32_t> ends;
    /// `[*]` paths that get a missing element where this state's value is not there.
    std::vector<uint32_t> lacking;
    /// `[*]` paths whose array this is.
    std::vector<uint32_t> arrays;
    bool counts = false;
};

} // namespace

struct fl_paths {
    std::vector<Branch> branches{1};
    std::vector<State> states;
    std::vector<bool> is_list;
    std::vector<bool> counts;

    uint32_t child(uint32_t at, const fl_step &step) {
        uint32_t fresh = uint32_t(branches.size());
        uint32_t *place;
        switch (step.kind) {
        case FL_STEP_KEY:
            place = &branches[at].keys.emplace(std::string(step.key, step.length), fresh).first->second;
            break;
        case FL_STEP_INDEX: place = &branches[at].indexes.emplace(step.index, fresh).first->second; break;
        default:
            if (branches[at].every == none) branches[at].every = fresh;
            place = &branches[at].every;
        }
        uint32_t to = *place;
        if (to == fresh) {
            bool in_element = branches[at].in_element || step.kind == FL_STEP_EVERY;
            branches.emplace_back();
            branches.back().in_element = in_element;
        }
        return to;
    }

    void collect_lists(uint32_t branch, std::vector<uint32_t> &into) const {
        for (uint32_t path : branches[branch].ends)
            if (is_list[path]) into.push_back(path);
        for (auto &key : branches[branch].keys) collect_lists(key.second, into);
        for (auto &index : branches[branch].indexes) collect_lists(index.second, into);
        if (branches[branch].every != none) collect_lists(branches[branch].every, into);
    }

    bool close() {
        std::map<std::vector<uint32_t>, uint32_t> known;
        std::vector<std::vector<uint32_t>> members;
        auto state_of = [&](std::vector<uint32_t> set) -> uint32_t {
            if (set.empty()) return none;
            auto entry = known.emplace(std::move(set), uint32_t(members.size()));
            if (entry.second) members.push_back(entry.first->first);
            return entry.first->second;
        };
        state_of({0});
        size_t most = branches.size() + FL_PATHS_STATES_EXTRA_MAX;
        for (size_t at = 0; at < members.size(); at++) {
            if (members.size() > most) return false;
            std::vector<uint32_t> set = members[at];
            State state;
            std::map<std::string, std::vector<uint32_t>> keys;
            std::map<uint32_t, std::vector<uint32_t>> indexes;
            std::vector<uint32_t> every;
            for (uint32_t member : set) {
                const Branch &branch = branches[member];
                for (auto &key : branch.keys) keys[key.first].push_back(key.second);
                for (auto &index : branch.indexes) indexes[index.first].push_back(index.second);
                if (branch.every != none) every.push_back(branch.every);
                for (uint32_t path : branch.ends) {
                    state.ends.push_back(path);
                    if (counts[path]) state.counts = true;
                }
                if (branch.in_element) collect_lists(member, state.lacking);
                if (branch.every != none && !branch.in_element) collect_lists(branch.every, state.arrays);
            }
            for (auto &key : keys) {
                bool plain = std::none_of(key.first.begin(), key.first.end(), [](char c) {
                    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
                });
                state.keys.push_back({key.first, state_of(key.second), plain});
            }
            for (auto &index : indexes) {
                std::vector<uint32_t> into = every;
                into.insert(into.end(), index.second.begin(), index.second.end());
                std::sort(into.begin(), into.end());
                state.indexes.push_back({index.first, state_of(std::move(into))});
            }
            std::sort(every.begin(), every.end());
            state.every = state_of(every);
            states.push_back(std::move(state));
        }
        branches.clear();
        return true;
    }
};

struct fl_json {
    ondemand::parser parser;
    std::vector<fl_value> elements;
    /// The last element of each path's list.
    std::vector<uint32_t> tails;
    /// For each state, the visit in which its key was last seen.
    std::vector<uint64_t> seen;
    uint64_t visit = 0;
};

namespace {

class Extraction {
  public:
    Extraction(fl_json &json, const fl_paths &paths, const uint8_t *bytes, size_t length, fl_value *out)
        : json(json), paths(paths), out(out), has_escapes(memchr(bytes, '\\', length) != nullptr),
          end(reinterpret_cast<const char *>(bytes) + length) {}

    template <class Value> error_code read(Value &value, uint32_t at) {
        const State &state = paths.states[at];
        ondemand::json_type type;
        if (auto error = value.type().get(type)) return error;
        fl_value found;
        memset(&found, 0, sizeof found);
        switch (type) {
        case ondemand::json_type::object: found.kind = FL_VALUE_OBJECT; break;
        case ondemand::json_type::array: found.kind = FL_VALUE_ARRAY; break;
        default:
            // Unless a path ends here the value may stay unread: only its absence below matters.
            if (!state.ends.empty())
                if (auto error = scalar(value, type, found)) return error;
        }
        if (type == ondemand::json_type::array && state.counts) {
            size_t count;
            if (auto error = value.count_elements().get(count)) return error;
            found.length = uint32_t(std::min<size_t>(count, UINT32_MAX));
        }
        for (uint32_t path : state.ends) put(path, found);
        if (type == ondemand::json_type::object && !state.keys.empty()) {
            if (auto error = object(value, state)) return error;
        } else {
            for (auto &key : state.keys) lacks(key.state);
        }
        if (type == ondemand::json_type::array && (state.every != none || !state.indexes.empty()))
            return array(value, state);
        if (state.every != none) lacks(state.every);
        for (auto &index : state.indexes) lacks(index.second);
        return SUCCESS;
    }

  private:
    fl_json &json;
    const fl_paths &paths;
    fl_value *out;
    bool has_escapes;
    const char *end;

    void put(uint32_t path, const fl_value &value) {
        if (!paths.is_list[path]) {
            out[path] = value;
            return;
        }
        uint32_t place = uint32_t(json.elements.size());
        json.elements.push_back(value);
        if (json.tails[path] == 0)
            out[path].next = place;
        else
            json.elements[json.tails[path]].next = place;
        json.tails[path] = place;
    }

    void lacks(uint32_t at) {
        fl_value missing;
        memset(&missing, 0, sizeof missing);
        for (uint32_t path : paths.states[at].lacking) put(path, missing);
    }

    template <class Value> error_code scalar(Value &value, ondemand::json_type type, fl_value &found) {
        switch (type) {
        case ondemand::json_type::null: found.kind = FL_VALUE_NULL; return SUCCESS;
        case ondemand::json_type::boolean: {
            bool is;
            if (auto error = value.get_bool().get(is)) return error;
            found.kind = FL_VALUE_BOOLEAN;
            found.integer = is;
            return SUCCESS;
        }
        case ondemand::json_type::string: {
            std::string_view text;
            if (auto error = value.get_string().get(text)) return error;
            found.kind = FL_VALUE_STRING;
            found.length = uint32_t(text.size());
            found.bytes = reinterpret_cast<const uint8_t *>(text.data());
            return SUCCESS;
        }
        default: {
            ondemand::number number;
            if (value.get_number().get(number) == SUCCESS) {
                if (number.is_int64()) {
                    found.kind = FL_VALUE_INTEGER;
                    found.integer = number.get_int64();
                } else {
                    found.kind = FL_VALUE_NUMBER;
                    found.number = number.is_uint64() ? double(number.get_uint64()) : number.get_double();
                }
            } else if (value.get_double().get(found.number) == SUCCESS) {
                found.kind = FL_VALUE_NUMBER;
            } else {
                found.kind = FL_VALUE_HUGE;
                found.integer = 0;
            }
            return SUCCESS;
        }
        }
    }

    template <class Value> error_code object(Value &value, const State &state) {
        ondemand::object object;
        if (auto error = value.get_object().get(object)) return error;
        uint64_t visit = ++json.visit;
        size_t left = state.keys.size();
        for (auto entry : object) {
            ondemand::field field;
            if (auto error = std::move(entry).get(field)) return error;
            uint32_t to;
            if (auto error = find(field, state, to)) return error;
            if (to == none || json.seen[to] == visit) continue;
            json.seen[to] = visit;
            if (auto error = read(field.value(), to)) return error;
            if (--left == 0) return SUCCESS;
        }
        for (auto &key : state.keys)
            if (json.seen[key.state] != visit) lacks(key.state);
        return SUCCESS;
    }

    error_code find(ondemand::field &field, const State &state, uint32_t &to) {
        to = none;
        const char *raw = field.key().raw();
        for (auto &key : state.keys) {
            size_t length = key.text.size();
            if (key.plain && raw + length < end && raw[length] == '"' && memcmp(raw, key.text.data(), length) == 0) {
                to = key.state;
                return SUCCESS;
            }
        }
        if (!has_escapes) return SUCCESS;
        const char *at = raw;
        while (at < end && *at != '"' && *at != '\\') at++;
        if (at >= end || *at == '"') return SUCCESS;
        std::string_view text;
        if (auto error = field.unescaped_key().get(text)) return error;
        for (auto &key : state.keys)
            if (key.text == text) to = key.state;
        return SUCCESS;
    }

    template <class Value> error_code array(Value &value, const State &state) {
        for (uint32_t path : state.arrays) out[path].kind = FL_VALUE_ARRAY;
        ondemand::array array;
        if (auto error = value.get_array().get(array)) return error;
        uint32_t place = 0;
        size_t index = 0;
        for (auto entry : array) {
            if (state.every == none && index == state.indexes.size()) return SUCCESS;
            ondemand::value element;
            if (auto error = std::move(entry).get(element)) return error;
            uint32_t to = state.every;
            if (index < state.indexes.size() && state.indexes[index].first == place) to = state.indexes[index++].second;
            if (to != none)
                if (auto error = read(element, to)) return error;
            place++;
        }
        for (; index < state.indexes.size(); index++) {
            // The state of `[n]` holds that of `[*]` too, which has no element here.
            lacks_only(state.indexes[index].second, state.every);
        }
        return SUCCESS;
    }

    /// As `lacks(at)`, but for what `but` lacks as well.
    void lacks_only(uint32_t at, uint32_t but) {
        fl_value missing;
        memset(&missing, 0, sizeof missing);
        for (uint32_t path : paths.states[at].lacking) {
            if (but != none) {
                auto &others = paths.states[but].lacking;
                if (std::find(others.begin(), others.end(), path) != others.end()) continue;
            }
            put(path, missing);
        }
    }
};

} // namespace

fl_paths *fl_paths_new(void) {
    try {
        return new fl_paths;
    } catch (...) {
        return nullptr;
    }
}

void fl_paths_free(fl_paths *paths) { delete paths; }

int fl_paths_add(fl_paths *paths, const fl_step *steps, size_t count, int counts) {
    try {
        uint32_t at = 0;
        bool is_list = false;
        for (size_t i = 0; i < count; i++) {
            at = paths->child(at, steps[i]);
            if (steps[i].kind == FL_STEP_EVERY) is_list = true;
        }
        paths->branches[at].ends.push_back(uint32_t(paths->is_list.size()));
        paths->is_list.push_back(is_list);
        paths->counts.push_back(counts != 0);
        return 1;
    } catch (...) {
        return 0;
    }
}

int fl_paths_close(fl_paths *paths) {
    try {
        return paths->close();
    } catch (...) {
        return 0;
    }
}

fl_json *fl_json_new(void) {
    try {
        return new fl_json;
    } catch (...) {
        return nullptr;
    }
}

void fl_json_free(fl_json *json) { delete json; }

fl_json *fl_json_of_thread(void) {
    try {
        static thread_local std::unique_ptr<fl_json> mine;
        if (!mine) mine.reset(new fl_json);
        return mine.get();
    } catch (...) {
        return nullptr;
    }
}

int fl_json_extract(fl_json *json, const fl_paths *paths, const uint8_t *bytes, size_t length, fl_value *out) {
    size_t count = paths->is_list.size();
    memset(out, 0, count * sizeof *out);
    error_code error = MEMALLOC;
    try {
        json->elements.resize(1);
        json->tails.assign(count, 0);
        if (json->seen.size() < paths->states.size()) json->seen.resize(paths->states.size(), 0);
        ondemand::document document;
        error = json->parser.iterate(bytes, length, length + SIMDJSON_PADDING).get(document);
        if (!error) error = Extraction(*json, *paths, bytes, length, out).read(document, 0);
    } catch (...) {
        error = MEMALLOC;
    }
    if (error) {
        memset(out, 0, count * sizeof *out);
        return 0;
    }
    return 1;
}

const fl_value *fl_json_elements(const fl_json *json) { return json->elements.data(); }
