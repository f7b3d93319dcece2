// SPDX-License-Identifier: Apache-2.0
#include "fl_mail.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const fl_mail *mail;
    size_t at;
} upload;

static size_t read_message(char *buffer, size_t size, size_t count, void *context) {
    upload *u = context;
    size_t room = size * count, left = u->mail->message_length - u->at;
    if (left < room) room = left;
    memcpy(buffer, u->mail->message + u->at, room);
    u->at += room;
    return room;
}

static size_t ignore(char *bytes, size_t size, size_t count, void *context) {
    (void)bytes;
    (void)context;
    return size * count;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void start_curl(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

int fl_mail_send(const fl_mail *mail, char *error, size_t error_size) {
    pthread_once(&once, start_curl);
    CURL *curl = curl_easy_init();
    if (!curl) {
        snprintf(error, error_size, "no memory for a connection");
        return 2;
    }
    upload u = {mail, 0};
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *recipients = NULL;
    for (size_t i = 0; i < mail->recipient_count; i++) {
        struct curl_slist *longer = curl_slist_append(recipients, mail->recipients[i]);
        if (!longer) break;
        recipients = longer;
    }
    curl_easy_setopt(curl, CURLOPT_URL, mail->url);
    // Names neither this machine's proxies nor its signals.
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(mail->require_tls ? CURLUSESSL_ALL : CURLUSESSL_TRY));
    if (mail->authorities) curl_easy_setopt(curl, CURLOPT_CAINFO, mail->authorities);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, mail->timeout_milliseconds);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, mail->timeout_milliseconds);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail->sender);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
    if (mail->user) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, mail->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, mail->password ? mail->password : "");
    }
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_message);
    curl_easy_setopt(curl, CURLOPT_READDATA, &u);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(recipients);
    curl_easy_cleanup(curl);
    if (code == CURLE_OK) return 0;
    const char *text = detail[0] ? detail : curl_easy_strerror(code);
    if (status >= 400)
        snprintf(error, error_size, "%s (the server said %ld)", text, status);
    else
        snprintf(error, error_size, "%s", text);
    // RFC 5321, section 4.2.1: 5yz is a permanent negative completion. Bad credentials are the operator's to mend, and
    // the mail is not to be lost over it.
    return status >= 500 && status < 600 && code != CURLE_LOGIN_DENIED ? 1 : 2;
}
