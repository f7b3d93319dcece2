// SPDX-License-Identifier: Apache-2.0

// What this machine can do at this moment, so that a figure of one machine or hour can be compared with another's: prints as JSON
//   cpu    checksums of 256 bytes, by two threads at once, a second
//   own    the same for a second of processor time, whoever else is busy
//   disk   records of 256 bytes appended to a preallocated file with an fdatasync for each 1,000, a second
//   turn   one byte through a socket pair to another thread and back, a second

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double seconds(void) { return seconds_of(CLOCK_MONOTONIC); }

static const double measured = 1.0;
static atomic_long checksums;
static volatile uint32_t result;

static void *checksum(void *unused) {
  (void)unused;
  uint32_t table[256];
  for (uint32_t index = 0; index < 256; index++) {
    uint32_t value = index;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0x82f63b78u : value >> 1;
    table[index] = value;
  }
  unsigned char bytes[256];
  memset(bytes, 'x', sizeof bytes);
  for (double end = seconds() + measured; seconds() < end;) {
    for (int round = 0; round < 1000; round++) {
      uint32_t crc = ~0u;
      bytes[0] = (unsigned char)round;
      for (size_t index = 0; index < sizeof bytes; index++) crc = table[(crc ^ bytes[index]) & 255] ^ crc >> 8;
      result = crc;
    }
    atomic_fetch_add(&checksums, 1000);
  }
  return NULL;
}

static void *echo(void *socket) {
  char byte;
  while (read((int)(intptr_t)socket, &byte, 1) == 1 && write((int)(intptr_t)socket, &byte, 1) == 1) {}
  return NULL;
}

int main(int count, char **arguments) {
  pthread_t threads[2];
  for (int index = 0; index < 2; index++) pthread_create(&threads[index], NULL, checksum, NULL);
  for (int index = 0; index < 2; index++) pthread_join(threads[index], NULL);
  double own = (double)checksums / seconds_of(CLOCK_PROCESS_CPUTIME_ID);

  char path[512];
  snprintf(path, sizeof path, "%s/calibrate.XXXXXX", count > 1 ? arguments[1] : "/tmp");
  int file = mkstemp(path);
  enum { record = 256, records = 1000, file_bytes = 256 << 20 };
  if (file < 0 || posix_fallocate(file, 0, file_bytes)) {
    perror("calibrate");
    return 1;
  }
  unlink(path);
  static char block[record * records];
  memset(block, 'x', sizeof block);
  long written = 0;
  off_t at = 0;
  double start = seconds();
  for (; seconds() < start + measured; written += records, at = (at + (off_t)sizeof block) % (file_bytes - (off_t)sizeof block)) {
    if (pwrite(file, block, sizeof block, at) != (ssize_t)sizeof block || fdatasync(file)) {
      perror("calibrate");
      return 1;
    }
  }
  double disk = (double)written / (seconds() - start);

  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
  pthread_create(&threads[0], NULL, echo, (void *)(intptr_t)pair[1]);
  long turns = 0;
  char byte = 'x';
  start = seconds();
  for (; seconds() < start + measured; turns++) {
    if (write(pair[0], &byte, 1) != 1 || read(pair[0], &byte, 1) != 1) return 1;
  }
  printf("{\"cpu\":%.0f,\"own\":%.0f,\"disk\":%.0f,\"turn\":%.0f}\n", (double)checksums / measured, own, disk,
         (double)turns / (seconds() - start));
  return 0;
}
