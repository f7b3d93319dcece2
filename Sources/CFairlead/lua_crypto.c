// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lua_host.h"

/// `ctx.crypto`: SHA-256 (FIPS 180-4), HMAC (RFC 2104), base64 (RFC 4648), random bytes from the kernel.

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

typedef struct {
    uint32_t state[8];
    uint8_t block[64];
    size_t used;
    uint64_t total;
} sha256;

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void compress(sha256 *h, const uint8_t *block) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16 | (uint32_t)block[i * 4 + 2] << 8 |
               block[i * 4 + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8];
    memcpy(v, h->state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + round_constants[i] + w[i];
        uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h->state[i] += v[i];
}

static void sha_start(sha256 *h) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(h->state, initial, sizeof initial);
    h->used = 0;
    h->total = 0;
}

static void sha_add(sha256 *h, const void *data, size_t length) {
    const uint8_t *bytes = data;
    h->total += length;
    while (length) {
        size_t n = 64 - h->used < length ? 64 - h->used : length;
        memcpy(h->block + h->used, bytes, n);
        h->used += n;
        bytes += n;
        length -= n;
        if (h->used == 64) {
            compress(h, h->block);
            h->used = 0;
        }
    }
}

static void sha_end(sha256 *h, uint8_t digest[32]) {
    uint64_t bits = h->total * 8;
    uint8_t one = 0x80, zero = 0, length[8];
    sha_add(h, &one, 1);
    while (h->used != 56) sha_add(h, &zero, 1);
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha_add(h, length, 8);
    for (int i = 0; i < 32; i++) digest[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

void fl_sha256(const void *bytes, size_t length, uint8_t digest[32]) {
    sha256 h;
    sha_start(&h);
    sha_add(&h, bytes, length);
    sha_end(&h, digest);
}

void fl_random(void *bytes, size_t length) {
    uint8_t *at = bytes;
    while (length) {
        ssize_t got = getrandom(at, length, 0);
        if (got <= 0) abort();
        at += got;
        length -= (size_t)got;
    }
}

void fl_uuid(char text[37]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    fl_random(bytes, sizeof bytes);
    // RFC 9562, version 4.
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80);
    char *at = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = 0;
}

void fl_random_uuid(char text[37]) { fl_uuid(text); }

/// A string's bytes, or a secret's.
static const char *bytes_or_secret(lua_State *L, int index, size_t *length) {
    fl_secret *secret = fl_to_secret(L, index);
    if (!secret) return luaL_checklstring(L, index, length);
    *length = secret->length;
    return secret->bytes + secret->name_length;
}

static int sha256_of(lua_State *L) {
    size_t length;
    const char *bytes = luaL_checklstring(L, 1, &length);
    uint8_t digest[32];
    fl_tick(L, (uint32_t)(length >> 4) + 8);
    fl_sha256(bytes, length, digest);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

static int hmac_sha256(lua_State *L) {
    size_t key_length, length;
    const char *key = bytes_or_secret(L, 1, &key_length);
    const char *bytes = luaL_checklstring(L, 2, &length);
    uint8_t block[64] = {0}, digest[32];
    fl_tick(L, (uint32_t)(length >> 4) + 16);
    if (key_length > sizeof block)
        fl_sha256(key, key_length, block);
    else
        memcpy(block, key, key_length);
    sha256 h;
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36;
    sha_start(&h);
    sha_add(&h, block, sizeof block);
    sha_add(&h, bytes, length);
    sha_end(&h, digest);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36 ^ 0x5C;
    sha_start(&h);
    sha_add(&h, block, sizeof block);
    sha_add(&h, digest, sizeof digest);
    sha_end(&h, digest);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

static int hex(lua_State *L) {
    static const char digits[] = "0123456789abcdef";
    size_t length;
    const char *bytes = luaL_checklstring(L, 1, &length);
    luaL_Buffer buffer;
    char *at = luaL_buffinitsize(L, &buffer, length * 2);
    for (size_t i = 0; i < length; i++) {
        at[i * 2] = digits[(uint8_t)bytes[i] >> 4];
        at[i * 2 + 1] = digits[bytes[i] & 15];
    }
    luaL_pushresultsize(&buffer, length * 2);
    fl_tick(L, (uint32_t)(length >> 4) + 1);
    return 1;
}

static int base64(lua_State *L) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length;
    fl_secret *secret = fl_to_secret(L, 1);
    const uint8_t *in = (const uint8_t *)bytes_or_secret(L, 1, &length);
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, (length + 2) / 3 * 4);
    char *at = out;
    for (size_t i = 0; i < length; i += 3) {
        uint32_t group = (uint32_t)in[i] << 16 | (i + 1 < length ? (uint32_t)in[i + 1] << 8 : 0) |
                         (i + 2 < length ? in[i + 2] : 0);
        *at++ = alphabet[group >> 18];
        *at++ = alphabet[group >> 12 & 63];
        *at++ = i + 1 < length ? alphabet[group >> 6 & 63] : '=';
        *at++ = i + 2 < length ? alphabet[group & 63] : '=';
    }
    luaL_pushresultsize(&buffer, (size_t)(at - out));
    fl_tick(L, (uint32_t)(length >> 4) + 1);
    if (secret) {
        size_t text_length;
        const char *text = lua_tolstring(L, -1, &text_length);
        fl_push_secret(L, secret->bytes, secret->name_length, text, text_length);
    }
    return 1;
}

static int random_bytes(lua_State *L) {
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 0 && count <= 65536, 1, "0 to 65536 bytes");
    luaL_Buffer buffer;
    char *at = luaL_buffinitsize(L, &buffer, (size_t)count);
    fl_random(at, (size_t)count);
    luaL_pushresultsize(&buffer, (size_t)count);
    return 1;
}

void fl_push_crypto(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"sha256", sha256_of}, {"hmac_sha256", hmac_sha256}, {"hex", hex}, {"base64", base64}, {"random", random_bytes},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
}
