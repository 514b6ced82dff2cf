#ifndef PGBOX_STMT_TABLE_H
#define PGBOX_STMT_TABLE_H

/* Types that statements may take and return. The values are the server's own
   type OIDs, which are fixed for built-in types. */
enum pgbox_type {
	PGBOX_TYPE_BOOLEAN = 16,
	PGBOX_TYPE_BYTEA = 17,
	PGBOX_TYPE_BIGINT = 20,
	PGBOX_TYPE_SMALLINT = 21,
	PGBOX_TYPE_INTEGER = 23,
	PGBOX_TYPE_TEXT = 25,
	PGBOX_TYPE_BOOLEAN_ARRAY = 1000,
	PGBOX_TYPE_BYTEA_ARRAY = 1001,
	PGBOX_TYPE_SMALLINT_ARRAY = 1005,
	PGBOX_TYPE_INTEGER_ARRAY = 1007,
	PGBOX_TYPE_TEXT_ARRAY = 1009,
	PGBOX_TYPE_BIGINT_ARRAY = 1016,
	PGBOX_TYPE_UUID = 2950,
	PGBOX_TYPE_UUID_ARRAY = 2951,
};

/* One file of sql/stmt */
struct pgbox_stmt_def {
	/* the file's name without .sql */
	const char *name;
	/* its text without comments */
	const char *sql;
	/* types of $1, $2, ... as declared by "-- in:" */
	const unsigned int *param_types;
	unsigned int param_count;
	/* types of the columns as declared by "-- out:" */
	const unsigned int *column_types;
	unsigned int column_count;
};

/* indexed by enum pgbox_stmt of the generated pgbox-stmt.h */
extern const struct pgbox_stmt_def pgbox_stmt_table[];

#endif
