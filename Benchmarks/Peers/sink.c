// SPDX-License-Identifier: Apache-2.0

// An HTTP endpoint that takes every event at once: one thread for each connection, 204 for each request. Prints its port, and
// on each line that it reads the number of requests so far.

#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_long requests;

static void *serve(void *argument) {
  int link = (int)(intptr_t)argument;
  size_t room = 1 << 16, count = 0;
  char *bytes = malloc(room);
  static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
  while (1) {
    bytes[count] = 0;
    char *end = strstr(bytes, "\r\n\r\n");
    size_t whole = 0;
    if (end) {
      char *length = strcasestr(bytes, "\r\ncontent-length:");
      whole = (size_t)(end + 4 - bytes) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
    }
    if (whole && count >= whole) {
      atomic_fetch_add(&requests, 1);
      if (send(link, answer, sizeof answer - 1, MSG_NOSIGNAL) <= 0) break;
      memmove(bytes, bytes + whole, count -= whole);
      continue;
    }
    if (count + 1 >= room) bytes = realloc(bytes, room *= 2);
    ssize_t got = recv(link, bytes + count, room - count - 1, 0);
    if (got <= 0) break;
    count += (size_t)got;
  }
  close(link);
  free(bytes);
  return NULL;
}

static void *accept_all(void *argument) {
  int listener = (int)(intptr_t)argument;
  while (1) {
    int link = accept(listener, NULL, NULL);
    if (link < 0) continue;
    int one = 1;
    setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)link) == 0) pthread_detach(thread);
  }
}

int main(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.1")};
  socklen_t length = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1024) ||
      getsockname(listener, (struct sockaddr *)&address, &length)) {
    perror("sink");
    return 1;
  }
  pthread_t thread;
  pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listener);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  char line[16];
  while (fgets(line, sizeof line, stdin)) {
    printf("%ld\n", atomic_load(&requests));
    fflush(stdout);
  }
  return 0;
}
