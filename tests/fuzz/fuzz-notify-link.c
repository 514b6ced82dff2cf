/* What a mail process reads on the socket of the signal service. */
#include "../../src/storage/pgbox-notify-link.c"
#include "../../src/storage/pgbox-notify-client.c"
#include "fuzz.h"
#include "test-common.h"

#define WATCHES 3

static void look(void *context ATTR_UNUSED)
{
}

void fuzz_init(void)
{
}

static void watches_add(struct pgbox_notify_link *link,
			struct pgbox_notify_watch *watches)
{
	for (unsigned int i = 0; i < WATCHES; i++) {
		watches[i].link = link;
		watches[i].id = i + 1;
		watches[i].look = look;
		watches[i].state = NOTIFY_WATCH_ASKED;
		watches[i].account = i_strdup("alice");
		DLLIST_PREPEND(&link->watches, &watches[i]);
	}
}

static void watches_free(struct pgbox_notify_watch *watches)
{
	for (unsigned int i = 0; i < WATCHES; i++) {
		if (watches[i].to_look != NULL)
			watch_look(&watches[i]);
		timeout_remove(&watches[i].to_look);
		i_free(watches[i].path);
		i_free(watches[i].account);
	}
}

void fuzz_one(const unsigned char *data, size_t size)
{
	struct pgbox_notify_link link;
	struct pgbox_notify_watch watches[WATCHES];
	const char *path = "/nonexistent";

	i_zero(&link);
	i_zero(&watches);
	link.fd = -1;
	link.path = i_strdup(path);
	link.event = event_create(NULL);
	watches_add(&link, watches);
	link.input = test_istream_create_data(data, size);
	test_istream_set_max_buffer_size(link.input, PGBOX_NOTIFY_MAX_LINE);
	/* until the end of it, or something that isn't the protocol */
	while (pgbox_notify_link_read(&link)) ;
	fuzz_require(link.input == NULL);
	for (unsigned int i = 0; i < WATCHES; i++) {
		fuzz_require(!watches[i].confirmed);
		fuzz_require(watches[i].state == NOTIFY_WATCH_NONE ||
			     watches[i].state == NOTIFY_WATCH_REFUSED);
	}
	watches_free(watches);
	timeout_remove(&link.to_reconnect);
	event_unref(&link.event);
	i_free(link.path);
}
