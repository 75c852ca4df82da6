// Asks a Redis (or Valkey, KeyDB) whether it is there, with PING, and for its role, with INFO.
//
// The protocol is RESP2: https://redis.io/docs/latest/develop/reference/protocol-spec/. A reply's first byte tells its type;
// PING and AUTH answer a line (`+` or `-`), INFO a text with its length in front (`$`).

#include "lapwing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_LINE 4096
#define LONGEST_INFO (256 << 10)

static const char SCHEMA[] =
    "{\"type\": \"object\", \"properties\": {"
    "\"host\": {\"type\": \"string\", \"format\": \"hostname\", \"minLength\": 1, \"x-lapwing-target\": \"host\","
    " \"description\": \"Host name or address.\"},"
    "\"port\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535, \"default\": 6379, \"x-lapwing-target\": \"port\","
    " \"description\": \"TCP port.\"},"
    "\"username\": {\"type\": \"string\", \"description\": \"User of Redis 6 and later; `default` when absent.\"},"
    "\"password\": {\"type\": \"string\", \"description\": \"Password, sent with AUTH.\"},"
    "\"tls\": {\"type\": \"boolean\", \"default\": false, \"description\": \"Speak TLS from the first byte.\"},"
    "\"ignore_tls_errors\": {\"type\": \"boolean\", \"default\": false, \"description\": \"Accept any certificate.\"},"
    "\"role\": {\"enum\": [\"any\", \"master\", \"slave\"], \"default\": \"any\","
    " \"description\": \"Role the server must have, in the words of INFO.\"}"
    "}, \"required\": [\"host\"], \"additionalProperties\": false}";

// Sends one command of up to three words as RESP wants it: an array of texts with their lengths.
static bool command(lw_run *run, lw_connection redis, int words, const char *const word[]) {
  size_t size = 32;
  for (int i = 0; i < words; i++) size += strlen(word[i]) + 32;
  char *sent = malloc(size);
  if (!sent) abort();
  int length = snprintf(sent, size, "*%d\r\n", words);
  for (int i = 0; i < words; i++)
    length += snprintf(sent + length, size - (size_t)length, "$%zu\r\n%s\r\n", strlen(word[i]), word[i]);
  return lw_write(run, redis, sent, (size_t)length);
}

// Judges an error reply. NOAUTH and WRONGPASS are the server's answer to our name; LOADING, MASTERDOWN and the like its state.
static bool refused(lw_run *run, const char *what, const char *error) {
  bool auth = strncmp(error, "NOAUTH", 6) == 0 || strncmp(error, "WRONGPASS", 9) == 0 || strncmp(error, "NOPERM", 6) == 0 ||
              strstr(error, "AUTH") != NULL;
  lw_down(run, auth ? "auth_failed" : "redis_error", "%s: %s", what, error);
  return false;
}

// Reads a reply that is a line, and expects this one.
static bool expect(lw_run *run, lw_connection redis, const char *what, const char *wanted) {
  char *reply = lw_read_line(run, redis, LONGEST_LINE);
  if (!reply) return false;
  if (reply[0] == '-') return refused(run, what, reply + 1);
  if (reply[0] == '+' && strcmp(reply + 1, wanted) == 0) return true;
  lw_down(run, "protocol_error", "%s: answered `%.100s`, expected `+%s`", what, reply, wanted);
  return false;
}

// Reads a reply that is a text.
static char *text(lw_run *run, lw_connection redis, const char *what) {
  char *head = lw_read_line(run, redis, LONGEST_LINE);
  if (!head) return NULL;
  if (head[0] == '-') {
    refused(run, what, head + 1);
    return NULL;
  }
  char *end = NULL;
  long length = head[0] == '$' ? strtol(head + 1, &end, 10) : -1;
  if (length < 0 || length > LONGEST_INFO || *end) {
    lw_down(run, "protocol_error", "%s: answered `%.100s`, expected a text of up to %d bytes", what, head, LONGEST_INFO);
    return NULL;
  }
  char *body = lw_read_exact(run, redis, (uint32_t)length + 2);
  if (body) body[length] = 0;
  return body;
}

// A field of INFO's text, or NULL.
static const char *field(char *info, const char *name) {
  size_t length = strlen(name);
  for (char *line = strtok(info, "\r\n"); line; line = strtok(NULL, "\r\n"))
    if (strncmp(line, name, length) == 0 && line[length] == ':') return line + length + 1;
  return NULL;
}

static bool greet(lw_run *run, lw_connection redis) {
  const char *password = lw_text(run, "password", NULL), *username = lw_text(run, "username", NULL);
  if (password) {
    const char *auth[] = {"AUTH", username ? username : password, password};
    if (!command(run, redis, username ? 3 : 2, auth) || !expect(run, redis, "AUTH", "OK")) return false;
  }
  return command(run, redis, 1, (const char *[]){"PING"}) && expect(run, redis, "PING", "PONG");
}

static void check(lw_run *run) {
  const char *host = lw_text(run, "host", ""), *wanted = lw_text(run, "role", "any");
  lw_connection redis;
  if (!lw_connect(run, host, (uint16_t)lw_int(run, "port", 6379), &redis)) return;
  if (lw_bool(run, "tls", false) && !lw_start_tls(run, redis, NULL, !lw_bool(run, "ignore_tls_errors", false))) return;
  if (!greet(run, redis)) return;
  lw_latency(run, lw_elapsed(redis));
  if (strcmp(wanted, "any") == 0) {
    lw_up(run, "PONG");
    return;
  }
  if (!command(run, redis, 2, (const char *[]){"INFO", "replication"})) return;
  char *info = text(run, redis, "INFO");
  if (!info) return;
  const char *role = field(info, "role");
  if (!role) {
    lw_down(run, "protocol_error", "INFO tells no role");
    return;
  }
  lw_attribute_text(run, "redis.role", role);
  if (strcmp(role, wanted) == 0)
    lw_up(run, "PONG from a %s", role);
  else
    lw_down(run, "redis_role", "is a %s, expected a %s", role, wanted);
}

static const char *const SENSITIVE[] = {"/password", NULL};

static const lw_capability CAPABILITIES[] = {
    {.name = "net.tcp", .scope = "{config.host}:{config.port}", .reason = "talks to the server"},
    {0},
};

static const lw_kind KINDS[] = {
    {
        .name = "redis-ping",
        .title = "Redis",
        .summary = "PING, AUTH and the role of a Redis",
        .schema = SCHEMA,
        .example = "{\"host\": \"redis.example.com\", \"role\": \"master\"}",
        .sensitive = SENSITIVE,
        .capabilities = CAPABILITIES,
        .check = check,
    },
    {0},
};

const lw_plugin lapwing_plugin = {
    .name = "redis-ping",
    .version = "0.1.0",
    .summary = "Is a Redis there, and in its role?",
    .license = "Apache-2.0",
    .kinds = KINDS,
};
