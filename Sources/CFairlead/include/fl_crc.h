// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli, reflected 0x82F63B78, as in RFC 3720 B.4) of `length` bytes; start with `crc` 0 and pass the
/// result on to continue. Uses the processor's instruction where there is one.
uint32_t fl_crc32c(uint32_t crc, const void *bytes, size_t length);
