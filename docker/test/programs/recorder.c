/*
 * recorder PORT FILE
 *
 * A dummy tracker: appends its input to FILE and prints an event for each line. Serves one client after another.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void follow(int client, int file) {
  static char bytes[1 << 16];
  ssize_t got;
  while ((got = read(client, bytes, sizeof bytes)) > 0) {
    if (write(file, bytes, got) != got) exit(1);
    for (ssize_t i = 0; i < got; i++)
      if (bytes[i] == '\n') puts("{\"track_id\":\"t\",\"length\":1,\"detections\":[]}");
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return 64;
  const int file = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
  const int server = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (file < 0 || bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 8)) return 1;
  for (;;) {
    const int client = accept(server, NULL, NULL);
    if (client < 0) return 1;
    follow(client, file);
    close(client);
  }
}
