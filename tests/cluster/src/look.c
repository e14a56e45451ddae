/* look SECONDS THREADS PAUSE_MS NAME=ADDRESS...: looks the names up in turn, without end, with this
 * C library's getaddrinfo. A look-up without that address has failed; one of a second or more is
 * late, since the resolver had to ask again. Ends after SECONDS or at SIGTERM; prints
 * "LOOK-UPS FAILED LATE LONGEST_MS", and before it a line for each of the first failed or late
 * ones. The output is that of look/main.go. */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char **names;
static int name_count, pause_ms;
static double until;
static volatile sig_atomic_t ended;
static atomic_long looked, failed, late, longest_us, told;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void end(int signal) { (void)signal; ended = 1; }

/* What getaddrinfo says of `name`: 0 if `address` is among it, 1 if not, or its error. */
static int look_up(const char *name, const char *address)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	int error = getaddrinfo(name, NULL, &hints, &list);
	if (error)
		return error;
	error = 1;
	for (a = list; a; a = a->ai_next) {
		char text[INET6_ADDRSTRLEN] = "";
		if (a->ai_family == AF_INET)
			inet_ntop(AF_INET, &((struct sockaddr_in *)a->ai_addr)->sin_addr, text, sizeof text);
		if (!strcmp(text, address))
			error = 0;
	}
	freeaddrinfo(list);
	return error;
}

static void *looker(void *argument)
{
	for (long i = (long)argument; !ended && now() < until; i++) {
		char name[256];
		snprintf(name, sizeof name, "%s", names[i % name_count]);
		char *address = strchr(name, '=');
		*address++ = 0;
		double start = now();
		int error = look_up(name, address);
		long us = (now() - start) * 1e6, longest = atomic_load(&longest_us);
		while (us > longest && !atomic_compare_exchange_weak(&longest_us, &longest, us))
			;
		atomic_fetch_add(&looked, 1);
		atomic_fetch_add(&failed, error != 0);
		atomic_fetch_add(&late, us >= 1000000);
		if ((error || us >= 1000000) && atomic_fetch_add(&told, 1) < 20) {
			char when[16];
			time_t t = time(NULL);
			strftime(when, sizeof when, "%H:%M:%S", gmtime(&t));
			printf("%s %s: %s after %.3f s\n", when, name,
			       error == 0 ? "answered" : error == 1 ? "without the address" : gai_strerror(error), us / 1e6);
		}
		usleep(pause_ms * 1000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	until = now() + atof(argv[1]);
	int threads = atoi(argv[2]);
	pause_ms = atoi(argv[3]);
	names = argv + 4;
	name_count = argc - 4;
	for (int i = 0; i < name_count; i++)
		if (!strchr(names[i], '='))
			return 2;
	signal(SIGTERM, end);
	signal(SIGINT, end);
	pthread_t *thread = calloc(threads, sizeof *thread);
	for (long i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, looker, (void *)i);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("%ld %ld %ld %ld\n", looked, failed, late, longest_us / 1000);
	return failed != 0;
}
