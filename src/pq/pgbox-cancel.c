#include "lib.h"
#include "pgbox-conn-private.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* life of the process that talks to the server */
#define CANCEL_TIMEOUT_SECS 2

/* Two processes deep, so that the caller can reap the first at once and knows
   nothing of the second. Both inherit the descriptors of this process, hence
   the alarm. */
static void ATTR_NORETURN cancel_child(PGcancel *cancel)
{
	char error[256];

	if (fork() == 0) {
		(void)signal(SIGALRM, SIG_DFL);
		(void)alarm(CANCEL_TIMEOUT_SECS);
		(void)PQcancel(cancel, error, sizeof(error));
	}
	_exit(0);
}

/* PQcancel() connects and waits for the server without a limit, which is too
   much to ask while the server may be hanging: another process does it. */
bool pgbox_cancel_send(PGconn *pg)
{
	PGcancel *cancel = PQgetCancel(pg);
	int status;
	pid_t pid;

	if (cancel == NULL)
		return FALSE;
	pid = fork();
	if (pid == 0)
		cancel_child(cancel);
	PQfreeCancel(cancel);
	if (pid == -1)
		return FALSE;
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR) ;
	return TRUE;
}
