/* getent hosts NAME...: like Debian's and Alpine's program, with this C library's getaddrinfo.
 * Prints a line for each address, with the name. Exit status: 2 if a name has none. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct addrinfo hints, *list, *a;
	char text[INET6_ADDRSTRLEN];
	int status = 0;
	if (argc < 3 || strcmp(argv[1], "hosts")) {
		fputs("usage: getent hosts NAME...\n", stderr);
		return 1;
	}
	memset(&hints, 0, sizeof hints);
	hints.ai_socktype = SOCK_STREAM;
	for (int i = 2; i < argc; i++) {
		if (getaddrinfo(argv[i], NULL, &hints, &list)) {
			status = 2;
			continue;
		}
		for (a = list; a; a = a->ai_next) {
			void *octets = a->ai_family == AF_INET6
				? (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr
				: (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr;
			printf("%-16s %s\n", inet_ntop(a->ai_family, octets, text, sizeof text), argv[i]);
		}
		freeaddrinfo(list);
	}
	return status;
}
