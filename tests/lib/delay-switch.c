/* Carries IP packets between network namespaces, and holds each of them for a
   while: for kernels that can't delay packets by themselves.

   delay-switch FD...

   Each FD is an open TUN device, the first that of the host 192.0.2.1, the next
   that of .2 and so on. Commands are lines on stdin, each answered by "ok" once
   it is in force; a host is named by its place, from 0. It ends with stdin.

     delay USEC     how long packets are on their way, in each direction
     cut A B        what goes from A to B is lost, what is on its way too
     join A B       ... is carried again */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define HOSTS_MAX 16
#define PACKET_MAX 65536
/* then packets are lost, as in a real one */
#define QUEUE_MAX 20000
/* of an IPv4 header */
#define HEADER_SIZE 20
#define LAST_BYTE_OF_DESTINATION 19

struct packet {
	struct packet *next;
	uint64_t due;
	unsigned int from, to;
	size_t size;
	unsigned char data[];
};

static int devices[HOSTS_MAX];
static unsigned int host_count;
static unsigned char is_cut[HOSTS_MAX][HOSTS_MAX];
static uint64_t delay_ns;
/* oldest first: none overtakes another, also when the delay becomes less */
static struct packet *queue, **queue_end = &queue;
static unsigned int queue_length;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void packet_queue(unsigned int from, const unsigned char *data, size_t size)
{
	unsigned int to = data[LAST_BYTE_OF_DESTINATION] - 1U;
	struct packet *packet;

	if (data[0] >> 4 != 4 || to >= host_count || queue_length == QUEUE_MAX)
		return;
	packet = malloc(sizeof(*packet) + size);
	if (packet == NULL)
		return;
	packet->next = NULL;
	packet->due = now() + delay_ns;
	packet->from = from;
	packet->to = to;
	packet->size = size;
	memcpy(packet->data, data, size);
	*queue_end = packet;
	queue_end = &packet->next;
	queue_length++;
}

static void packets_read(unsigned int from)
{
	static unsigned char data[PACKET_MAX];
	ssize_t size;

	while ((size = read(devices[from], data, sizeof(data))) > 0) {
		if (size >= HEADER_SIZE)
			packet_queue(from, data, (size_t)size);
	}
}

static void packets_deliver(void)
{
	struct packet *packet;

	while ((packet = queue) != NULL && packet->due <= now()) {
		queue = packet->next;
		if (queue == NULL)
			queue_end = &queue;
		queue_length--;
		/* a device that takes no more loses it */
		if (!is_cut[packet->from][packet->to] &&
		    write(devices[packet->to], packet->data, packet->size) < 0)
			perror("delay-switch: write");
		free(packet);
	}
}

static int command_run(const char *line)
{
	unsigned int from, to, usec;

	if (sscanf(line, "delay %u", &usec) == 1) {
		delay_ns = (uint64_t)usec * 1000;
		return 0;
	}
	if (sscanf(line, "%*s %u %u", &from, &to) != 2 ||
	    from >= host_count || to >= host_count)
		return -1;
	is_cut[from][to] = strncmp(line, "cut ", 4) == 0;
	return 0;
}

/* Returns 1 if there may be more commands, 0 at the end. */
static int command_read(void)
{
	/* who sends one waits for its answer: a read is a line */
	char line[64];
	ssize_t size = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (size <= 0)
		return 0;
	line[size] = '\0';
	puts(command_run(line) == 0 ? "ok" : "what?");
	fflush(stdout);
	return 1;
}

static void wait_for_input(struct pollfd *polled)
{
	struct timespec ts = { 0, 0 };
	uint64_t time = now(), left;

	if (queue == NULL) {
		(void)ppoll(polled, host_count + 1, NULL, NULL);
		return;
	}
	left = queue->due > time ? queue->due - time : 0;
	ts.tv_sec = (time_t)(left / 1000000000);
	ts.tv_nsec = (long)(left % 1000000000);
	(void)ppoll(polled, host_count + 1, &ts, NULL);
}

int main(int argc, char **argv)
{
	struct sched_param first = { .sched_priority = 1 };
	struct pollfd polled[HOSTS_MAX + 1];
	unsigned int i;

	for (; host_count < HOSTS_MAX && host_count + 1 < (unsigned int)argc; host_count++) {
		devices[host_count] = atoi(argv[host_count + 1]);
		polled[host_count] = (struct pollfd){ .fd = devices[host_count], .events = POLLIN };
	}
	polled[host_count] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
	/* A delay is only as exact as we wake up. Where we may not ask for
	   that it is longer at times. */
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	(void)sched_setscheduler(0, SCHED_FIFO, &first);
	do {
		packets_deliver();
		polled[host_count].revents = 0;
		wait_for_input(polled);
		for (i = 0; i < host_count; i++)
			packets_read(i);
	} while (polled[host_count].revents == 0 || command_read() > 0);
	return 0;
}
