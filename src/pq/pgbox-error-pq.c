#include "lib.h"
#include "str.h"
#include "pgbox-conn-private.h"

/* SQLSTATEs of prepared statements that the server doesn't have, or has
   already: somebody else uses the session, too */
#define SQLSTATE_NO_PLAN "26000"
#define SQLSTATE_DUPLICATE_PLAN "42P05"
#define SQLSTATE_NOT_NULL_VIOLATION "23502"
#define SQLSTATE_CHECK_VIOLATION "23514"

/* The detail of these is the whole row: what stands in mail or in an account
   isn't for the log. */
static bool error_quotes_row(const char *sqlstate)
{
	return null_strcmp(sqlstate, SQLSTATE_NOT_NULL_VIOLATION) == 0 ||
		null_strcmp(sqlstate, SQLSTATE_CHECK_VIOLATION) == 0;
}

void pgbox_error_from_result(struct pgbox_error *error, const PGresult *res,
			     const struct pgbox_stmt_def *def)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *constraint =
		PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);

	if (primary == NULL)
		primary = PQresultErrorMessage(res);
	if (error_quotes_row(sqlstate))
		detail = NULL;
	pgbox_error_set(error, pgbox_error_classify(sqlstate), "%s%s%s%s",
			primary, detail == NULL ? "" : " - ",
			detail == NULL ? "" : detail,
			null_strcmp(sqlstate, SQLSTATE_NO_PLAN) == 0 ||
			null_strcmp(sqlstate, SQLSTATE_DUPLICATE_PLAN) == 0 ?
			" - behind a connection pooler set pgbox_prepare=no" :
			"");
	i_strocpy(error->sqlstate, sqlstate == NULL ? "" : sqlstate,
		  sizeof(error->sqlstate));
	/* names are at most 63 bytes */
	i_strocpy(error->constraint, constraint == NULL ? "" : constraint,
		  sizeof(error->constraint));
	error->stmt = def == NULL ? NULL : def->name;
}

/* libpq has no call for the SQLSTATE of a refused connection, but in verbose
   messages it stands after the severity: "FATAL:  28P01: password ...".
   Returns "" if there is none. */
static const char *connect_sqlstate(const char *message)
{
	const char *sqlstate = "", *p = message;

	/* several hosts: the last one tried is the last one mentioned */
	while ((p = strstr(p, ":  ")) != NULL) {
		p += 3;
		if (strspn(p, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") ==
		    PGBOX_SQLSTATE_LEN && p[PGBOX_SQLSTATE_LEN] == ':')
			sqlstate = t_strndup(p, PGBOX_SQLSTATE_LEN);
	}
	return sqlstate;
}

/* Returns the message without the lines that tell the server's source. */
static const char *connect_message(const char *message)
{
	const char *const *lines = t_strsplit(message, "\n");
	string_t *str = t_str_new(256);

	for (; *lines != NULL; lines++) {
		if (!str_begins(*lines, "LOCATION:"))
			str_printfa(str, "%s ", *lines);
	}
	return str_c(str);
}

/* What libpq says when TLS is what failed, and what to do about it. Its own
   words name no remedy, or that of a client who would rather not verify. */
static const struct {
	const char *said, *remedy;
} connect_tls_remedies[] = {
	{ "certificate verify failed", "the server's certificate has expired, "
	  "or no authority in sslrootcert has signed it: openssl s_client "
	  "-starttls postgres -connect HOST:PORT -CAfile FILE tells which" },
	{ "does not match host name", "the host of pgbox_db must be a name "
	  "that the server's certificate has" },
	{ "root certificate file", "sslrootcert must be a file that the mail "
	  "user can read, with the authority that signed the server's "
	  "certificate" },
	{ "server does not support SSL", "switch it on in postgresql.conf "
	  "(ssl, ssl_cert_file, ssl_key_file)" },
	{ "private key file", "sslkey must be a file of the user that reads "
	  "it, with mode 0600, or of root with mode 0640" },
};

/* Returns "" if it has nothing to do with TLS. */
static const char *connect_remedy(const char *message)
{
	unsigned int i;

	for (i = 0; i < N_ELEMENTS(connect_tls_remedies); i++) {
		if (strstr(message, connect_tls_remedies[i].said) != NULL) {
			return t_strconcat("- ",
				connect_tls_remedies[i].remedy, NULL);
		}
	}
	return "";
}

void pgbox_error_from_connect(struct pgbox_error *error, PGconn *pg)
{
	enum pgbox_error_kind kind = PGBOX_ERROR_UNREACHABLE;

	T_BEGIN {
		const char *message = PQerrorMessage(pg);
		const char *sqlstate = connect_sqlstate(message);

		if (*sqlstate != '\0')
			kind = pgbox_error_classify(sqlstate);
		else if (PQconnectionNeedsPassword(pg) == 1)
			kind = PGBOX_ERROR_DENIED;
		if (kind != PGBOX_ERROR_DENIED && kind != PGBOX_ERROR_SCHEMA)
			kind = PGBOX_ERROR_UNREACHABLE;
		pgbox_error_set(error, kind, "%s%s", connect_message(message),
				connect_remedy(message));
		i_strocpy(error->sqlstate, sqlstate, sizeof(error->sqlstate));
	} T_END;
}
