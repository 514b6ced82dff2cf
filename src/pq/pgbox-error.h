#ifndef PGBOX_ERROR_H
#define PGBOX_ERROR_H

/* What a failed statement means to us. The class decides three things: may
   the work be repeated, is the connection still good, what does the client
   hear. See pgbox_error_classify(). */
enum pgbox_error_kind {
	PGBOX_ERROR_NONE = 0,
	/* no server could be reached, or it accepts no connections now */
	PGBOX_ERROR_UNREACHABLE,
	/* the link died, and the work is known not to be committed */
	PGBOX_ERROR_LOST,
	/* the link died after the work was sent: committed or not, nobody
	   knows */
	PGBOX_ERROR_IN_DOUBT,
	/* deadlock or serialization failure: repeat the whole transaction */
	PGBOX_ERROR_RACE,
	/* lock or statement timeout of our own */
	PGBOX_ERROR_BUSY,
	/* the server is read-only (a standby) */
	PGBOX_ERROR_STANDBY,
	/* a primary that was left behind by a failover */
	PGBOX_ERROR_STALE,
	/* raised by our own SQL functions (SQLSTATE class PB) */
	PGBOX_ERROR_RULE,
	/* an integrity constraint (SQLSTATE class 23) */
	PGBOX_ERROR_CONSTRAINT,
	/* the server can't represent a value (SQLSTATE class 22) */
	PGBOX_ERROR_INPUT,
	/* the schema is missing, or not the one this plugin was built for */
	PGBOX_ERROR_SCHEMA,
	/* wrong password, missing privilege */
	PGBOX_ERROR_DENIED,
	/* disk full, out of memory, a limit of the server's configuration */
	PGBOX_ERROR_FULL,
	/* the server reports damaged data or an I/O error */
	PGBOX_ERROR_DAMAGED,
	/* anything else: a defect of ours */
	PGBOX_ERROR_BUG,
};

#define PGBOX_SQLSTATE_LEN 5

/* An error carried by value from the statement that failed up to the place
   that reports it. It owns no memory, so that it can cross data stack frames
   and outlive the connection. */
struct pgbox_error {
	enum pgbox_error_kind kind;
	/* empty when the server didn't give one */
	char sqlstate[PGBOX_SQLSTATE_LEN + 1];
	/* constraint that was violated, empty if none */
	char constraint[64];
	/* name of the statement (static memory), NULL while connecting */
	const char *stmt;
	/* the connection has told the administrator: an outage is logged when
	   it begins, not for each command that meets it */
	bool logged;
	/* one line for the administrator's log; may hold host and role, so
	   never for a client */
	char text[480];
};

/* Returns the class of an SQLSTATE (five characters; "" or NULL: unknown).
   Pure; never PGBOX_ERROR_NONE. */
enum pgbox_error_kind pgbox_error_classify(const char *sqlstate);

/* Fill error with a class and a formatted text; sqlstate, constraint and
   stmt become empty. */
void pgbox_error_set(struct pgbox_error *error, enum pgbox_error_kind kind,
		     const char *fmt, ...) ATTR_FORMAT(3, 4);

/* Returns TRUE if errors of this kind mean that the connection must not be
   used again. */
bool pgbox_error_drops_connection(enum pgbox_error_kind kind) ATTR_PURE;

/* Returns TRUE if the work is known not to have happened and may simply be
   repeated (LOST, RACE). */
bool pgbox_error_is_repeatable(enum pgbox_error_kind kind) ATTR_PURE;

/* Returns a short hint that tells the administrator what to do about errors
   of this kind ("" if there is nothing to say). Static memory. */
const char *pgbox_error_hint(enum pgbox_error_kind kind);

#endif
