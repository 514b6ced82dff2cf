/* Who is told when: the watches of the signal service, without a service. */
#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "str.h"
#include "test-common.h"
#include "unlink-directory.h"
#include "pgbox-notify-file.h"
#include "pgbox-notify-watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ioloop *ioloop;
static struct event *event;
static struct pgbox_notify_dir *dir;
static struct pgbox_watches *watches;
/* "NAME:MODSEQ " of each that was told */
static string_t *told;

static void look(struct pgbox_watch *watch ATTR_UNUSED, uint64_t modseq,
		 void *context)
{
	str_printfa(told, "%s:%"PRIu64" ", (const char *)context, modseq);
}

static void test_told(const char *expected)
{
	test_assert_strcmp(str_c(told), expected);
	str_truncate(told, 0);
}

static void setup(unsigned int max_waking, const char *path)
{
	ioloop = io_loop_create();
	event = event_create(NULL);
	told = str_new(default_pool, 128);
	dir = path == NULL ? NULL : pgbox_notify_dir_init(path, event);
	watches = pgbox_watches_init(dir, max_waking, look);
}

static void teardown(void)
{
	pgbox_watches_deinit(&watches);
	if (dir != NULL)
		pgbox_notify_dir_deinit(&dir);
	str_free(&told);
	event_unref(&event);
	io_loop_destroy(&ioloop);
}

static struct pgbox_watch *
add(int64_t mailbox_id, const char *account, uint64_t modseq, char *name)
{
	const struct pgbox_watch_key key = {
		.mailbox_id = mailbox_id,
		.account = account,
	};
	return pgbox_watch_add(watches, &key, modseq, name);
}

static void
signal_change(int64_t mailbox_id, uint64_t modseq, const char *account)
{
	const struct pgbox_signal signal = {
		.mailbox_id = mailbox_id,
		.modseq = modseq,
		.account = account,
	};
	pgbox_watches_signal(watches, &signal);
}

static void test_signals(void)
{
	struct pgbox_watch *a, *b, *c;

	test_begin("watches: signals");
	setup(100, NULL);
	a = add(1, NULL, 10, "a");
	b = add(2, NULL, 10, "b");
	c = add(0, "user", 0, "c");
	test_assert(pgbox_watch_get_path(a) == NULL);

	signal_change(1, 20, "user");
	test_told("a:20 c:0 ");
	pgbox_watch_done(a);
	pgbox_watch_done(c);
	/* known already, but the account may differ in something else */
	signal_change(1, 20, "user");
	test_told("c:0 ");
	pgbox_watch_done(c);
	/* of somebody else, of nobody */
	signal_change(2, 20, "other");
	test_told("b:20 ");
	pgbox_watch_done(b);
	signal_change(3, 20, "nobody");
	test_told("");
	/* only the tree */
	signal_change(0, 0, "user");
	test_told("c:0 ");
	pgbox_watch_done(c);
	/* nobody knows up to where */
	signal_change(1, 0, "other");
	test_told("a:0 ");
	pgbox_watch_done(a);
	/* everybody */
	signal_change(0, 0, "");
	test_assert(str_len(told) == strlen("a:0 b:0 c:0 "));
	str_truncate(told, 0);

	pgbox_watch_remove(&a);
	pgbox_watch_remove(&b);
	pgbox_watch_remove(&c);
	teardown();
	test_end();
}

static void test_knowledge(void)
{
	struct pgbox_watch *a, *b;

	test_begin("watches: sessions that know more or less");
	setup(100, NULL);
	a = add(1, NULL, 10, "a");
	/* b has seen what nobody told a */
	b = add(1, NULL, 20, "b");
	test_told("a:20 ");
	pgbox_watch_done(a);
	pgbox_watch_remove(&b);
	b = add(1, NULL, 15, "b");
	test_told("b:20 ");
	pgbox_watch_remove(&a);
	pgbox_watch_remove(&b);
	/* forgotten with the last session */
	a = add(1, NULL, 5, "a");
	test_told("");
	pgbox_watch_remove(&a);
	teardown();
	test_end();
}

static void test_again(void)
{
	struct pgbox_watch *a;

	test_begin("watches: more comes while a session looks");
	setup(100, NULL);
	a = add(1, NULL, 0, "a");
	signal_change(1, 10, "user");
	signal_change(1, 20, "user");
	signal_change(1, 30, "user");
	test_told("a:10 ");
	pgbox_watch_done(a);
	test_told("a:30 ");
	pgbox_watch_done(a);
	pgbox_watch_done(a);
	test_told("");
	pgbox_watch_remove(&a);
	teardown();
	test_end();
}

static void test_turns(void)
{
	struct pgbox_watch *a, *b, *c, *d;

	test_begin("watches: turns");
	setup(2, NULL);
	a = add(1, NULL, 0, "a");
	b = add(2, NULL, 0, "b");
	c = add(3, NULL, 0, "c");
	d = add(4, NULL, 0, "d");
	signal_change(1, 10, "user");
	signal_change(2, 10, "user");
	signal_change(3, 10, "user");
	signal_change(4, 10, "user");
	test_told("a:10 b:10 ");
	/* the newest is told when its turn has come */
	signal_change(3, 20, "user");
	test_told("");
	pgbox_watch_done(b);
	test_told("c:20 ");
	/* who leaves makes room, too, and nobody is told who has left */
	pgbox_watch_remove(&d);
	pgbox_watch_remove(&a);
	test_told("");
	signal_change(2, 30, "user");
	test_told("b:30 ");
	pgbox_watch_remove(&b);
	pgbox_watch_remove(&c);
	teardown();
	test_end();
}

static void stop(struct ioloop *loop)
{
	io_loop_stop(loop);
}

static void test_lost_turn(void)
{
	struct pgbox_watch *a, *b;
	struct timeout *to;

	test_begin("watches: a session that doesn't answer");
	setup(1, NULL);
	a = add(1, NULL, 0, "a");
	b = add(2, NULL, 0, "b");
	signal_change(1, 10, "user");
	signal_change(2, 10, "user");
	signal_change(1, 20, "user");
	test_told("a:10 ");
	to = timeout_add_short(2300, stop, ioloop);
	io_loop_run(ioloop);
	timeout_remove(&to);
	test_told("b:10 ");
	pgbox_watch_done(b);
	test_told("a:20 ");
	pgbox_watch_remove(&a);
	pgbox_watch_remove(&b);
	teardown();
	test_end();
}

/* One check; the answers are given by the caller in between. */
static void check_begin(const char *expected)
{
	ARRAY_TYPE(int64_t) ids;
	ARRAY_TYPE(const_string) accounts;
	string_t *str = t_str_new(64);
	const char *account;
	int64_t id;

	t_array_init(&ids, 8);
	t_array_init(&accounts, 8);
	pgbox_watches_check_begin(watches);
	test_assert(pgbox_watches_check_next(watches, &ids, &accounts));
	array_foreach_elem(&ids, id)
		str_printfa(str, "%"PRId64" ", id);
	array_foreach_elem(&accounts, account)
		str_printfa(str, "%s ", account);
	test_assert_strcmp(str_c(str), expected);
}

static void check_end(void)
{
	ARRAY_TYPE(int64_t) ids;
	ARRAY_TYPE(const_string) accounts;

	pgbox_watches_check_batch_end(watches);
	t_array_init(&ids, 8);
	t_array_init(&accounts, 8);
	test_assert(!pgbox_watches_check_next(watches, &ids, &accounts));
}

static void
check_row(enum pgbox_signal_state_kind kind, int64_t mailbox_id,
	  const char *account, uint64_t modseq)
{
	const struct pgbox_signal_state state = {
		.kind = kind,
		.mailbox_id = mailbox_id,
		.account = account,
		.modseq = modseq,
	};
	pgbox_watches_check_row(watches, &state);
}

static void test_check(void)
{
	struct pgbox_watch *a, *b, *c;

	test_begin("watches: checks");
	setup(100, NULL);
	c = add(0, "user", 0, "c");
	b = add(2, NULL, 10, "b");
	a = add(1, NULL, 10, "a");

	/* the first answer for an account is only noted */
	check_begin("1 2 user ");
	check_row(PGBOX_SIGNAL_STATE_MAILBOX, 1, NULL, 20);
	check_row(PGBOX_SIGNAL_STATE_MAILBOX, 2, NULL, 10);
	check_row(PGBOX_SIGNAL_STATE_ACCOUNT, 0, "user", 7);
	check_end();
	test_told("a:20 ");
	pgbox_watch_done(a);

	/* deleted; another tree */
	check_begin("1 2 user ");
	check_row(PGBOX_SIGNAL_STATE_MAILBOX, 1, NULL, 0);
	check_row(PGBOX_SIGNAL_STATE_MAILBOX, 2, NULL, 10);
	check_row(PGBOX_SIGNAL_STATE_ACCOUNT, 0, "user", 6);
	check_end();
	test_told("c:0 a:0 ");
	pgbox_watch_done(a);
	pgbox_watch_done(c);

	/* purged; that a mailbox is gone is told once */
	check_begin("1 2 user ");
	check_row(PGBOX_SIGNAL_STATE_ACCOUNT, 0, "user", 6);
	check_end();
	test_told("b:0 ");
	pgbox_watch_done(b);

	/* after a new link accounts may have missed something */
	pgbox_watches_forget(watches);
	test_told("c:0 ");
	pgbox_watch_remove(&a);
	pgbox_watch_remove(&b);
	pgbox_watch_remove(&c);
	teardown();
	test_end();
}

static const char *file_read(const char *path)
{
	char buf[64];
	ssize_t ret;
	int fd = open(path, O_RDONLY);

	if (fd == -1)
		return "none";
	ret = read(fd, buf, sizeof(buf));
	test_assert(ret >= 0);
	i_close_fd(&fd);
	return t_strndup(buf, ret);
}

static void test_files(void)
{
	const char *path = ".test-notify-watch", *error, *file;
	struct pgbox_watch *a;

	test_begin("watches: files");
	(void)unlink_directory(path, UNLINK_DIRECTORY_FLAG_RMDIR, &error);
	test_assert(mkdir(path, 0700) == 0);
	setup(1, path);
	a = add(7, NULL, 65536, "a");
	file = t_strdup(pgbox_watch_get_path(a));
	test_assert_strcmp(file, t_strconcat(path, "/7", NULL));
	test_assert_strcmp(file_read(file), "00000000000000065536\n");
	signal_change(7, 131072, "user");
	test_assert_strcmp(file_read(file), "00000000000000131072\n");
	test_told("a:131072 ");
	/* the session is parked: the file goes on being written */
	pgbox_watch_remove(&a);
	signal_change(7, 196608, "user");
	test_assert_strcmp(file_read(file), "00000000000000196608\n");
	teardown();

	/* a new service knows what was told by the former one */
	setup(1, path);
	check_begin("7 ");
	check_row(PGBOX_SIGNAL_STATE_MAILBOX, 7, NULL, 196608);
	check_end();
	test_assert_strcmp(file_read(file), "00000000000000196608\n");
	check_begin("7 ");
	check_row(PGBOX_SIGNAL_STATE_MAILBOX, 7, NULL, 262144);
	check_end();
	test_assert_strcmp(file_read(file), "00000000000000262144\n");
	a = add(7, NULL, 196608, "a");
	test_told("a:262144 ");
	pgbox_watch_remove(&a);
	teardown();
	test_assert(unlink_directory(path, UNLINK_DIRECTORY_FLAG_RMDIR,
				     &error) > 0);
	test_end();
}

static void test_format(void)
{
	static const char *const bad[] = {
		"", "1", "1 ", "1 2", "x 2 user", "1 -2 user", " 1 2 user",
		"1 2\tuser", "99999999999999999999 2 user",
	};
	struct pgbox_signal signal = {
		.mailbox_id = 77, .modseq = 131072, .account = "a b\"c@d",
	};
	const char *text;
	unsigned int i;

	test_begin("signals: text");
	text = pgbox_signal_format(&signal);
	test_assert_strcmp(text, "77 131072 a b\"c@d");
	i_zero(&signal);
	test_assert(pgbox_signal_parse(text, &signal));
	test_assert(signal.mailbox_id == 77 && signal.modseq == 131072);
	test_assert_strcmp(signal.account, "a b\"c@d");
	test_assert(pgbox_signal_parse("0 0 ", &signal));
	test_assert(*signal.account == '\0');
	for (i = 0; i < N_ELEMENTS(bad); i++)
		test_assert_idx(!pgbox_signal_parse(bad[i], &signal), i);
	test_end();
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_signals,
		test_knowledge,
		test_again,
		test_turns,
		test_lost_turn,
		test_check,
		test_files,
		test_format,
		NULL
	};
	return test_run(tests);
}
