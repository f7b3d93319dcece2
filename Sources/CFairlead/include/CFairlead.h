// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "fl_crc.h"
#include "fl_json.h"
#include "fl_lua.h"
#include "fl_mail.h"
#include "fl_paths.h"
#include "fl_record.h"
