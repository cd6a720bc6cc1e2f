// guess PORT RATE: logs in as guest over AMQP with a new wrong password RATE times a second, evenly spread, until it is
// told to end (SIGTERM). Prints {"attempts":…,"refused":…,"cut":…}: refused by a connection.close, or cut without one.
// In C and with one epoll loop, so that the guesser takes next to nothing of the machine that it shares with the broker.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS_MAX 65536
enum { CONNECTING, GREETED, GUESSED };

static char state[SOCKETS_MAX];
static volatile sig_atomic_t ended;
static void end(int signal) { (void)signal; ended = 1; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

// connection.start-ok with no client properties, mechanism PLAIN.
static int startOk(unsigned char *frame, long number) {
  char response[64];
  int length = sprintf(response, "%cguest%cwrong-%d-%ld", 0, 0, getpid(), number);
  int at = 7;
  memcpy(frame + at, "\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0", 17), at += 17;
  frame[at++] = length;
  memcpy(frame + at, response, length), at += length;
  memcpy(frame + at, "\x05" "en_US", 6), at += 6;
  int payload = at - 7;
  unsigned char header[7] = {1, 0, 0, 0, 0, payload >> 8, payload};
  memcpy(frame, header, 7);
  frame[at++] = 0xce;
  return at;
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: guess PORT RATE\n"), 2;
  double rate = atof(argv[2]);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  signal(SIGTERM, end);
  signal(SIGPIPE, SIG_IGN);
  int poll = epoll_create1(0);
  long attempts = 0, refused = 0, cut = 0;
  double began = now();
  while (!ended) {
    for (; attempts < (now() - began) * rate; attempts++) {
      int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      if (s < 0 || s >= SOCKETS_MAX) return perror("socket"), 1;
      connect(s, (void *)&address, sizeof address);
      state[s] = CONNECTING;
      struct epoll_event event = {.events = EPOLLOUT, .data.fd = s};
      epoll_ctl(poll, EPOLL_CTL_ADD, s, &event);
    }
    struct epoll_event events[64];
    int ready = epoll_wait(poll, events, 64, 1 + (int)(500 / rate));
    for (int i = 0; i < ready; i++) {
      int s = events[i].data.fd;
      unsigned char bytes[4096];
      if (state[s] == CONNECTING) {
        write(s, "AMQP\0\0\x09\x01", 8);
        state[s] = GREETED;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = s};
        epoll_ctl(poll, EPOLL_CTL_MOD, s, &event);
        continue;
      }
      int got = read(s, bytes, sizeof bytes);
      if (got > 0 && state[s] == GREETED) {
        unsigned char frame[256];
        write(s, frame, startOk(frame, attempts));
        state[s] = GUESSED;
        continue;
      }
      // Method 10.50 is connection.close.
      if (got > 10 && bytes[8] == 10 && bytes[10] == 50) refused++;
      else cut++;
      close(s);
    }
  }
  printf("{\"attempts\":%ld,\"refused\":%ld,\"cut\":%ld}\n", attempts, refused, cut);
  return 0;
}
