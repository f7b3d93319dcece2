# SPDX-License-Identifier: Apache-2.0
"""What a random caller has to be told: how lines are written, what is there, and not to wait for a minute."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return (value if isinstance(value, str) else json.dumps(value)).encode()


@schemathesis.hook
def before_call(context, case, kwargs):
    # Half of what is right in itself goes to what there is; what is wrong stays as it is.
    if case.meta is not None and case.meta.generation.mode.is_positive:
        for parameter, name in (("topic", "orders"), ("name", "books"), ("id", 1)):
            value = str(case.path_parameters.get(parameter, ""))
            if value and len(value) % 2 == 1:
                case.path_parameters[parameter] = name
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["wait"] = "0s"
    if isinstance(case.body, dict) and isinstance(case.body.get("wait"), str):
        case.body["wait"] = "0s"
