/* A preloaded library that keeps Dovecot 2.3's auth process from crashing when
   SQL on PostgreSQL is used together with OAuth2, or when PostgreSQL is down
   at the time auth starts.

   Waiting for its first connection, Dovecot's PostgreSQL driver runs an I/O
   loop of its own. Before it reports that the connection is up, or that it
   failed, it wants to go back to the loop of the process, so that the caller
   can add timeouts there. But it goes to a pointer that nobody has set
   (db->orig_ioloop in driver_pgsql_wait()), that is, to no loop at all:

     passdb oauth2:  "Panic: http_client_context_close: assertion failed"
     PostgreSQL down: a timeout is added to no loop, segmentation fault

   Leaving a nested loop for none can't be meant anywhere. This makes it what
   is meant: going back to the loop outside.

     service auth {
       executable = /usr/bin/env LD_PRELOAD=/path/auth-fix.so /usr/lib/dovecot/auth
     }
     service auth-worker {
       executable = /usr/bin/env LD_PRELOAD=/path/auth-fix.so /usr/lib/dovecot/auth -w
     }

   Reported as https://github.com/dovecot/core/pull/200 and pull/199. */

#define _GNU_SOURCE
#include "lib.h"
#include "ioloop-private.h"

#include <dlfcn.h>

typedef void set_current_t(struct ioloop *ioloop);

void io_loop_set_current(struct ioloop *ioloop)
{
	static set_current_t *set_current = NULL;

	if (set_current == NULL)
		set_current = dlsym(RTLD_NEXT, "io_loop_set_current");
	/* The outermost loop has no ->prev: it can be left for none. */
	if (ioloop == NULL && current_ioloop != NULL)
		ioloop = current_ioloop->prev;
	set_current(ioloop);
}
