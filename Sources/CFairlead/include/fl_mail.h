// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    /// `smtp://host:port`, or `smtps://…` where TLS comes first.
    const char *url;
    /// NULL where the server wants none.
    const char *user;
    const char *password;
    const char *sender;
    const char *const *recipients;
    size_t recipient_count;
    const uint8_t *message;
    size_t message_length;
    long timeout_milliseconds;
    /// Refuse to go on without TLS; otherwise STARTTLS is used where the server offers it.
    int require_tls;
    /// A file of certificates to trust in place of the system's; NULL for those.
    const char *authorities;
} fl_mail;

/// Sends one message and waits for the server's answer: 0 sent, 1 refused for good, 2 may pass later. `error`, of
/// `error_size` bytes, gets a text for people where it isn't 0. Blocks; safe from any thread.
int fl_mail_send(const fl_mail *mail, char *error, size_t error_size);
