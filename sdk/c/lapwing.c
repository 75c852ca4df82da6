// See lapwing.h. Strings of the interface have a length and no zero; those of plugins have a zero.

#include "lapwing.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 32
// Kinds, or capabilities or pointers of a kind: the worker takes no more.
#define MOST_LISTED 64
// Kept back from the budget, so that a check whose call timed out can still tell of it: 50 ms, or a tenth.
#define RESERVE UINT64_C(50000000)
#define MAX_BODY_BYTES (256 << 10)

struct lw_run {
  const char *config, *schema;
  // `broken`: a call failed, and its verdict stands. `slipped`: the plugin or the config is amiss, and nothing changes that.
  bool ended, failed, broken, slipped;
  lapwing_plugin_types_outcome_t outcome;
  lapwing_plugin_types_check_error_t error;
  exports_lapwing_plugin_config_check_list_problem_t problems;
};

static void *need(void *memory) {
  if (!memory) abort();
  return memory;
}

// What lasts until the end of the run, the last one first.
static struct block {
  struct block *before;
  max_align_t content[];
} *blocks;
static struct opened {
  struct opened *before;
  lapwing_plugin_tcp_own_connection_t connection;
} *connections;

static void *lasting(size_t size) {
  struct block *block = need(malloc(sizeof *block + size));
  block->before = blocks;
  blocks = block;
  return block->content;
}

static void end_run(void) {
  // What `printf` holds back, if it is linked.
  fflush(NULL);
  for (struct opened *at = connections; at; at = at->before) lapwing_plugin_tcp_connection_drop_own(at->connection);
  connections = NULL;
  while (blocks) {
    struct block *before = blocks->before;
    free(blocks);
    blocks = before;
  }
}

plugin_string_t lw_string(const char *text) {
  return (plugin_string_t){.ptr = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
}

// Bytes of the character at `at`, 0 if it is none in UTF-8.
static size_t character(const uint8_t *at) {
  if (at[0] < 0x80) return 1;
  if (at[0] < 0xc2 || at[0] > 0xf4) return 0;
  uint8_t least = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80, most = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;
  if (at[1] < least || at[1] > most) return 0;
  size_t length = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
  for (size_t i = 2; i < length; i++)
    if (at[i] >> 6 != 2) return 0;
  return length;
}

// A copy that the generated code may free. What a peer sent and what a format cut need not be UTF-8, and the interface
// traps on anything else: such bytes become `?`.
static plugin_string_t owned(const char *text) {
  size_t length = strlen(text);
  uint8_t *copy = need(malloc(length + 1));
  memcpy(copy, text, length + 1);
  for (uint8_t *at = copy; *at;) {
    size_t whole = character(at);
    if (!whole) *at = '?';
    at += whole ? whole : 1;
  }
  return (plugin_string_t){.ptr = copy, .len = length};
}

static plugin_option_string_t maybe(const char *text) {
  return text ? (plugin_option_string_t){true, owned(text)} : (plugin_option_string_t){0};
}

static char *zeroed(const uint8_t *bytes, size_t length) {
  char *text = lasting(length + 1);
  if (length) memcpy(text, bytes, length);
  text[length] = 0;
  return text;
}

static char *print(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  char *text = lasting(length < 0 ? 1 : (size_t)length + 1);
  text[0] = 0;
  if (length > 0) vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}

// --- verdicts

static void verdict(lw_run *run, uint8_t status, const char *reason, const char *format, va_list arguments) {
  bool well = status == LAPWING_PLUGIN_TYPES_STATUS_UP || status == LAPWING_PLUGIN_TYPES_STATUS_DEGRADED;
  if (run->slipped || (run->broken && well)) return;
  run->ended = true;
  run->failed = false;
  run->outcome.status = status;
  run->outcome.reason = maybe(reason);
  run->outcome.message = owned(print(format, arguments));
}

#define VERDICT(status, reason)                                                                                                 \
  va_list arguments;                                                                                                            \
  va_start(arguments, message);                                                                                                 \
  verdict(run, status, reason, message, arguments);                                                                             \
  va_end(arguments)

void lw_up(lw_run *run, const char *message, ...) {
  VERDICT(LAPWING_PLUGIN_TYPES_STATUS_UP, NULL);
}

void lw_degraded(lw_run *run, const char *reason, const char *message, ...) {
  VERDICT(LAPWING_PLUGIN_TYPES_STATUS_DEGRADED, reason);
}

void lw_down(lw_run *run, const char *reason, const char *message, ...) {
  VERDICT(LAPWING_PLUGIN_TYPES_STATUS_DOWN, reason);
}

void lw_fail(lw_run *run, lw_failure failure, const char *message, ...) {
  if (run->slipped) return;
  va_list arguments;
  va_start(arguments, message);
  run->ended = run->failed = true;
  run->error.tag = (uint8_t)failure;
  // Every case of the variant holds one text.
  run->error.val.internal = owned(print(message, arguments));
  va_end(arguments);
}

void lw_clear(lw_run *run) {
  if (run->broken) run->broken = run->ended = false;
}

void lw_problem(lw_run *run, const char *pointer, const char *message, ...) {
  exports_lapwing_plugin_config_check_list_problem_t *all = &run->problems;
  all->ptr = need(realloc(all->ptr, (all->len + 1) * sizeof *all->ptr));
  va_list arguments;
  va_start(arguments, message);
  all->ptr[all->len++] = (exports_lapwing_plugin_config_check_problem_t){owned(pointer), owned(print(message, arguments))};
  va_end(arguments);
}

void lw_latency(lw_run *run, uint64_t nanoseconds) {
  run->outcome.latency.is_some = true;
  run->outcome.latency.val = nanoseconds;
}

static lapwing_plugin_types_value_t *attribute(lw_run *run, const char *key) {
  size_t *count = &run->outcome.attributes.len;
  if (*count == MOST) return NULL;
  if (*count == 0) run->outcome.attributes.ptr = need(calloc(MOST, sizeof *run->outcome.attributes.ptr));
  lapwing_plugin_types_attribute_t *added = &run->outcome.attributes.ptr[(*count)++];
  added->key = owned(key);
  return &added->value;
}

void lw_attribute_text(lw_run *run, const char *key, const char *value) {
  lapwing_plugin_types_value_t *held = attribute(run, key);
  if (held) *held = (lapwing_plugin_types_value_t){.tag = LAPWING_PLUGIN_TYPES_VALUE_TEXT, .val.text = owned(value)};
}

void lw_attribute_int(lw_run *run, const char *key, int64_t value) {
  lapwing_plugin_types_value_t *held = attribute(run, key);
  if (held) *held = (lapwing_plugin_types_value_t){.tag = LAPWING_PLUGIN_TYPES_VALUE_INT, .val.int_ = value};
}

void lw_metric(lw_run *run, const char *name, double value, const char *unit) {
  size_t *count = &run->outcome.metrics.len;
  if (*count == MOST) return;
  if (*count == 0) run->outcome.metrics.ptr = need(calloc(MOST, sizeof *run->outcome.metrics.ptr));
  run->outcome.metrics.ptr[(*count)++] = (lapwing_plugin_types_metric_t){.name = owned(name), .value = value, .unit = maybe(unit)};
}

// --- the config: one object, valid JSON (the worker has parsed it)

static const char *space(const char *at) {
  while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
  return at;
}

static const char *past_string(const char *at) {
  for (at++; *at && *at != '"'; at++)
    if (*at == '\\' && at[1]) at++;
  return *at ? at + 1 : at;
}

static const char *past_value(const char *at) {
  int depth = 0;
  do {
    if (*at == '"') {
      at = past_string(at);
      continue;
    }
    if (*at == '{' || *at == '[') depth++;
    if (*at == '}' || *at == ']') depth--;
    if (depth < 0) return at;
    at++;
  } while (*at && (depth > 0 || (*at != ',' && *at != '}')));
  return at;
}

static char *utf8(char *to, uint32_t point) {
  if (point < 0x80) {
    *to++ = (char)point;
    return to;
  }
  int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  *to++ = (char)((0xf00 >> more & 0xff) | point >> 6 * more);
  while (more--) *to++ = (char)(0x80 | (point >> 6 * more & 0x3f));
  return to;
}

static uint32_t hex4(const char *at) {
  char digits[5] = {0};
  strncpy(digits, at, 4);
  return (uint32_t)strtoul(digits, NULL, 16);
}

// A string's text; NULL if it has a NUL in it. No escape is shorter than what it stands for.
static char *unescaped(const char *at) {
  char *text = lasting((size_t)(past_string(at) - at) + 1), *to = text;
  for (at++; *at && *at != '"'; at++) {
    if (*at != '\\') {
      *to++ = *at;
      continue;
    }
    const char *found = strchr("n\nt\tr\rb\bf\f", *++at);
    if (*at == 'u') {
      uint32_t point = hex4(at + 1);
      at += 4;
      if (point >> 10 == 0x36 && at[1] == '\\' && at[2] == 'u') {
        point = 0x10000 + ((point & 0x3ff) << 10 | (hex4(at + 3) & 0x3ff));
        at += 6;
      }
      if (point == 0) return NULL;
      // Half a pair is no text.
      to = utf8(to, point >> 11 == 0x1b ? 0xfffd : point);
    } else {
      *to++ = found ? found[1] : *at;
    }
  }
  *to = 0;
  return text;
}

// Whether a schema that allows no other fields has this one.
static bool in_schema(const char *schema, const char *key) {
  const char *others = strstr(schema, "\"additionalProperties\"");
  if (!others || strstr(schema, "\"patternProperties\"")) return true;
  others = space(others + strlen("\"additionalProperties\""));
  if (*others != ':' || strncmp(space(others + 1), "false", 5) != 0) return true;
  size_t length = strlen(key);
  for (const char *at = strstr(schema, key); at; at = strstr(at + 1, key))
    if (at > schema && at[-1] == '"' && at[length] == '"') return true;
  return false;
}

static const char *member(lw_run *run, const char *key) {
  if (!in_schema(run->schema, key)) {
    lw_fail(run, LW_INTERNAL, "the schema has no `%s`", key);
    run->slipped = true;
    return NULL;
  }
  const char *at = space(run->config);
  while (*at == '{' || *at == ',') {
    at = space(at + 1);
    if (*at != '"') return NULL;
    char *name = unescaped(at);
    at = space(space(past_string(at)) + 1);
    if (name && strcmp(name, key) == 0) return at;
    at = space(past_value(at));
  }
  return NULL;
}

const char *lw_text(lw_run *run, const char *key, const char *otherwise) {
  const char *at = member(run, key);
  if (!at || *at != '"') return otherwise;
  const char *text = unescaped(at);
  if (text) return text;
  lw_fail(run, LW_INVALID_CONFIG, "`%s` has a NUL in it", key);
  run->slipped = true;
  return otherwise;
}

int64_t lw_int(lw_run *run, const char *key, int64_t otherwise) {
  const char *at = member(run, key);
  if (!at || (*at != '-' && (*at < '0' || *at > '9'))) return otherwise;
  char *end;
  int64_t value = strtoll(at, &end, 10);
  if (*end != '.' && *end != 'e' && *end != 'E') return value;
  // `7.079e3`, for which `strtod` would be a quarter of a plugin.
  const char *digit = at + (*at == '-');
  double number = 0;
  long scale = 0;
  for (bool fraction = false; *digit == '.' || (*digit >= '0' && *digit <= '9'); digit++) {
    if (*digit == '.') {
      fraction = true;
    } else {
      number = number * 10 + (*digit - '0');
      scale -= fraction;
    }
  }
  if (*digit == 'e' || *digit == 'E') scale += strtol(digit + 1, NULL, 10);
  for (; scale > 0 && number > 0 && number < 0x1p63; scale--) number *= 10;
  for (; scale < 0 && number >= 1; scale++) number /= 10;
  if (number >= 0x1p63) return *at == '-' ? INT64_MIN : INT64_MAX;
  return *at == '-' ? -(int64_t)number : (int64_t)number;
}

bool lw_bool(lw_run *run, const char *key, bool otherwise) {
  const char *at = member(run, key);
  return at && (*at == 't' || *at == 'f') ? *at == 't' : otherwise;
}

// --- the network

uint64_t lw_timeout(void) {
  uint64_t remaining = lapwing_plugin_context_remaining(), tenth = remaining / 10;
  return remaining - (tenth < RESERVE ? tenth : RESERVE);
}

static bool begins(plugin_string_t text, const char *with) {
  size_t length = strlen(with);
  return text.len >= length && memcmp(text.ptr, with, length) == 0;
}

static const char *const FAULTS[][2] = {
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_ACCESS_DENIED] = {NULL, "access denied: "},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_NAME_NOT_FOUND] = {"dns_not_found", "name not found"},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_RESOLVER_FAILED] = {"dns_failed", "name lookup failed: "},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_REFUSED] = {"connection_refused", "connection refused"},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_UNREACHABLE] = {"network_unreachable", "network unreachable"},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_RESET] = {"connection_reset", "connection reset"},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_CLOSED] = {"connection_closed", "connection closed"},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_TIMEOUT] = {"response_timeout", "no answer in time"},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_TLS] = {"tls_failed", ""},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_PROTOCOL] = {"protocol_error", "protocol error: "},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_LIMIT] = {NULL, "limit reached: "},
    [LAPWING_PLUGIN_NET_TYPES_NET_ERROR_OTHER] = {"protocol_error", ""},
};

bool lw_net_failed(lw_run *run, const lapwing_plugin_net_types_net_error_t *error, const char *during) {
  const char *reason = FAULTS[error->tag][0], *words = FAULTS[error->tag][1];
  // Every case that holds something holds a text.
  plugin_string_t text = error->val.other;
  bool told = false;
  switch (error->tag) {
  case LAPWING_PLUGIN_NET_TYPES_NET_ERROR_TIMEOUT:
    // The host puts the step that took too long first.
    if (begins(text, "dns:")) reason = "dns_timeout", words = "name lookup timed out";
    if (begins(text, "connect:")) reason = "connection_timeout", words = "connection timed out";
    if (begins(text, "tls:")) reason = "tls_timeout", words = "TLS handshake timed out";
    break;
  case LAPWING_PLUGIN_NET_TYPES_NET_ERROR_TLS:
    if (begins(text, "certificate")) reason = "tls_certificate";
    told = true;
    break;
  case LAPWING_PLUGIN_NET_TYPES_NET_ERROR_ACCESS_DENIED:
  case LAPWING_PLUGIN_NET_TYPES_NET_ERROR_RESOLVER_FAILED:
  case LAPWING_PLUGIN_NET_TYPES_NET_ERROR_PROTOCOL:
  case LAPWING_PLUGIN_NET_TYPES_NET_ERROR_LIMIT:
  case LAPWING_PLUGIN_NET_TYPES_NET_ERROR_OTHER:
    told = true;
  }
  const char *lead = during ? during : "", *colon = during ? ": " : "";
  int length = told ? (int)text.len : 0;
  const char *rest = told ? (const char *)text.ptr : "";
  if (reason)
    lw_down(run, reason, "%s%s%s%.*s", lead, colon, words, length, rest);
  else
    // One of the run's quotas is told by the worker, whatever is said here.
    lw_fail(run, error->tag == LAPWING_PLUGIN_NET_TYPES_NET_ERROR_LIMIT ? LW_INTERNAL : LW_DENIED, "%s%s%s%.*s", lead, colon, words,
            length, rest);
  run->broken = true;
  return false;
}

// As above, and frees the error.
static bool failed(lw_run *run, lapwing_plugin_net_types_net_error_t *error, const char *during) {
  lw_net_failed(run, error, during);
  lapwing_plugin_net_types_net_error_free(error);
  return false;
}

bool lw_http_get(lw_run *run, const char *url, lw_response *response) {
  lapwing_plugin_http_http_request_t request = {
      .method = lw_string("GET"),
      .url = lw_string(url),
      .max_response_bytes = MAX_BODY_BYTES,
      .timeout = lw_timeout(),
      .family = LAPWING_PLUGIN_NET_TYPES_IP_FAMILY_ANY,
  };
  lapwing_plugin_http_http_response_t got;
  lapwing_plugin_net_types_net_error_t error;
  *response = (lw_response){.body = ""};
  if (!lapwing_plugin_http_send(&request, &got, &error)) return failed(run, &error, NULL);
  run->broken = false;
  *response = (lw_response){
      .status = got.status,
      .body = zeroed(got.body.ptr, got.body.len),
      .length = got.body.len,
      .truncated = got.truncated,
      .total = got.timing.total,
  };
  lapwing_plugin_http_http_response_free(&got);
  return true;
}

const char *lw_body(lw_run *run, const lw_response *response) {
  if (run->broken) return NULL;
  if (!response->truncated) return response->body;
  lw_fail(run, LW_INTERNAL, "the body is larger than %d KiB", MAX_BODY_BYTES >> 10);
  run->broken = true;
  return NULL;
}

const char *lw_secret(lw_run *run, const char *name) {
  plugin_string_t named = lw_string(name), secret;
  lapwing_plugin_secrets_secret_error_t error;
  if (lapwing_plugin_secrets_reveal(&named, &secret, &error)) {
    char *text = zeroed(secret.ptr, secret.len);
    plugin_string_free(&secret);
    return text;
  }
  bool away = error.tag == LAPWING_PLUGIN_SECRETS_SECRET_ERROR_UNAVAILABLE;
  lw_fail(run, away ? LW_RETRYABLE : LW_DENIED, "secret `%s`: %s", name, away ? "it cannot be read" : "it is not granted by `reveal`");
  run->broken = true;
  lapwing_plugin_secrets_secret_error_free(&error);
  return NULL;
}

bool lw_connect(lw_run *run, const char *host, uint16_t port, lw_connection *connection) {
  lapwing_plugin_net_types_endpoint_t to = {.host = lw_string(host), .port = port};
  lapwing_plugin_tcp_own_connection_t opened;
  lapwing_plugin_net_types_net_error_t error;
  if (!lapwing_plugin_tcp_static_connection_connect(&to, LAPWING_PLUGIN_NET_TYPES_IP_FAMILY_ANY, lw_timeout(), &opened, &error)) {
    size_t length = strlen(host) + 7;
    char *during = lasting(length);
    snprintf(during, length, "%s:%u", host, (unsigned)port);
    return failed(run, &error, during);
  }
  struct opened *kept = lasting(sizeof *kept);
  *kept = (struct opened){connections, opened};
  connections = kept;
  *connection = lapwing_plugin_tcp_borrow_connection(opened);
  run->broken = false;
  return true;
}

bool lw_start_tls(lw_run *run, lw_connection connection, const char *server_name, bool verify) {
  if (run->broken) return false;
  lapwing_plugin_net_types_tls_options_t options = {.server_name = maybe(server_name), .verify = verify};
  lapwing_plugin_types_tls_info_t session;
  lapwing_plugin_net_types_net_error_t error;
  if (!lapwing_plugin_tcp_method_connection_start_tls(connection, &options, lw_timeout(), &session, &error))
    return failed(run, &error, "TLS");
  run->outcome.tls.is_some = true;
  run->outcome.tls.val = session;
  return true;
}

bool lw_write(lw_run *run, lw_connection connection, const void *data, size_t length) {
  if (run->broken) return false;
  plugin_list_u8_t bytes = {.ptr = (uint8_t *)(uintptr_t)data, .len = length};
  lapwing_plugin_net_types_net_error_t error;
  if (!lapwing_plugin_tcp_method_connection_write_all(connection, &bytes, lw_timeout(), &error))
    return failed(run, &error, NULL);
  return true;
}

// What was read, and frees it; NULL when that failed.
static char *received(lw_run *run, bool read, plugin_list_u8_t *bytes, lapwing_plugin_net_types_net_error_t *error) {
  if (!read) {
    failed(run, error, NULL);
    return NULL;
  }
  char *text = zeroed(bytes->ptr, bytes->len);
  plugin_list_u8_free(bytes);
  return text;
}

char *lw_read_line(lw_run *run, lw_connection connection, uint32_t max) {
  if (run->broken) return NULL;
  plugin_list_u8_t end = {.ptr = (uint8_t *)"\n", .len = 1}, line;
  lapwing_plugin_net_types_net_error_t error;
  bool read = lapwing_plugin_tcp_method_connection_read_until(connection, &end, max, lw_timeout(), &line, &error);
  char *text = received(run, read, &line, &error);
  if (!text) return NULL;
  size_t length = line.len;
  if (length && text[length - 1] == '\n') length--;
  if (length && text[length - 1] == '\r') length--;
  text[length] = 0;
  return text;
}

char *lw_read_exact(lw_run *run, lw_connection connection, uint32_t length) {
  if (run->broken) return NULL;
  plugin_list_u8_t bytes;
  lapwing_plugin_net_types_net_error_t error;
  bool read = lapwing_plugin_tcp_method_connection_read_exact(connection, length, lw_timeout(), &bytes, &error);
  return received(run, read, &bytes, &error);
}

char *lw_read(lw_run *run, lw_connection connection, uint32_t max, size_t *length) {
  *length = 0;
  if (run->broken) return NULL;
  plugin_list_u8_t bytes;
  lapwing_plugin_net_types_net_error_t error;
  bool read = lapwing_plugin_tcp_method_connection_read(connection, max, lw_timeout(), &bytes, &error);
  char *text = received(run, read, &bytes, &error);
  if (text) *length = bytes.len;
  return text;
}

char *lw_read_to_end(lw_run *run, lw_connection connection, uint32_t max, size_t *length) {
  char *all = lasting((size_t)max + 1);
  *length = 0;
  for (;;) {
    size_t come;
    // One byte beyond what is wanted tells that there is more.
    const char *piece = lw_read(run, connection, max - (uint32_t)*length + 1, &come);
    if (!piece) return NULL;
    if (come > max - *length) {
      lw_fail(run, LW_INTERNAL, "more than %u bytes came", (unsigned)max);
      run->broken = true;
      return NULL;
    }
    memcpy(all + *length, piece, come);
    *length += come;
    all[*length] = 0;
    if (come == 0) return all;
  }
}

uint64_t lw_elapsed(lw_connection connection) {
  lapwing_plugin_net_types_timing_t timing;
  lapwing_plugin_tcp_method_connection_timing(connection, &timing);
  return timing.total;
}

void lw_log(lw_level level, const char *message, ...) {
  va_list arguments;
  va_start(arguments, message);
  plugin_string_t line = owned(print(message, arguments));
  va_end(arguments);
  lapwing_plugin_log_log((uint8_t)level, &line);
  plugin_string_free(&line);
}

// --- what the component exports

// What is amiss in the definition ends `describe`, and the worker tells it.
static void amiss(const char *kind, const char *what) {
  // A tenth of what `fprintf` takes.
  char text[200];
  int length = snprintf(text, sizeof text, "kind `%.64s`: %s\n", kind, what);
  if (write(STDERR_FILENO, text, (size_t)length) < 0) __builtin_trap();
  abort();
}

static void describe_kind(const lw_kind *kind, lapwing_plugin_types_check_type_t *told) {
  if (!kind->title || !kind->summary || !kind->schema || !kind->example || !kind->check)
    amiss(kind->name, "one of `.title`, `.summary`, `.schema`, `.example` and `.check` is missing");
  size_t sensitive = 0, capabilities = 0;
  while (kind->sensitive && kind->sensitive[sensitive])
    if (++sensitive > MOST_LISTED) amiss(kind->name, "`.sensitive` does not end with NULL");
  while (kind->capabilities && kind->capabilities[capabilities].name)
    if (++capabilities > MOST_LISTED) amiss(kind->name, "`.capabilities` does not end with {0}");
  told->name = owned(kind->name);
  told->title = owned(kind->title);
  told->summary = owned(kind->summary);
  told->config_schema = owned(kind->schema);
  told->example_config = owned(kind->example);
  told->sensitive.ptr = need(calloc(sensitive + 1, sizeof *told->sensitive.ptr));
  told->sensitive.len = sensitive;
  for (size_t i = 0; i < sensitive; i++) told->sensitive.ptr[i] = owned(kind->sensitive[i]);
  told->capabilities.ptr = need(calloc(capabilities + 1, sizeof *told->capabilities.ptr));
  told->capabilities.len = capabilities;
  for (size_t i = 0; i < capabilities; i++) {
    const lw_capability *needed = &kind->capabilities[i];
    if (!needed->reason) amiss(kind->name, "a capability has no `.reason`");
    lapwing_plugin_types_capability_t *asked = &told->capabilities.ptr[i];
    asked->name = owned(needed->name);
    asked->reason = owned(needed->reason);
    asked->optional = needed->optional;
    asked->scope.ptr = need(calloc(1, sizeof *asked->scope.ptr));
    asked->scope.len = needed->scope != NULL;
    if (needed->scope) asked->scope.ptr[0] = owned(needed->scope);
  }
}

void exports_lapwing_plugin_checker_describe(exports_lapwing_plugin_checker_plugin_info_t *told) {
  const lw_plugin *plugin = &lapwing_plugin;
  size_t kinds = 0;
  while (plugin->kinds[kinds].name)
    if (++kinds > MOST_LISTED) amiss(plugin->name, "`.kinds` of the plugin does not end with {0}");
  *told = (lapwing_plugin_types_plugin_info_t){
      .name = owned(plugin->name),
      .version = owned(plugin->version),
      .summary = owned(plugin->summary),
      .license = maybe(plugin->license),
      .max_reuse = plugin->max_reuse ? plugin->max_reuse : 1,
      .check_types = {.ptr = need(calloc(kinds, sizeof(lapwing_plugin_types_check_type_t))), .len = kinds},
  };
  for (size_t i = 0; i < kinds; i++) describe_kind(&plugin->kinds[i], &told->check_types.ptr[i]);
}

static const lw_kind *kind_of(plugin_string_t name) {
  for (const lw_kind *kind = lapwing_plugin.kinds; kind->name; kind++)
    if (strlen(kind->name) == name.len && begins(name, kind->name)) return kind;
  return NULL;
}

bool exports_lapwing_plugin_checker_check(exports_lapwing_plugin_checker_request_t *request,
                                          exports_lapwing_plugin_checker_outcome_t *outcome,
                                          exports_lapwing_plugin_checker_check_error_t *error) {
  const lw_kind *kind = kind_of(request->check_type);
  lw_run run = {.config = zeroed(request->config.ptr, request->config.len), .schema = kind ? kind->schema : ""};
  if (kind)
    kind->check(&run);
  else
    lw_fail(&run, LW_UNSUPPORTED, "there is no such kind in this plugin");
  if (!run.ended) lw_fail(&run, LW_INTERNAL, "the check ended without a verdict");
  lapwing_plugin_types_request_free(request);
  end_run();
  // The generated code frees what is returned, when it has been read.
  if (run.failed) {
    lapwing_plugin_types_outcome_free(&run.outcome);
    *error = run.error;
    return false;
  }
  *outcome = run.outcome;
  return true;
}

void exports_lapwing_plugin_config_check_validate(plugin_string_t *name, exports_lapwing_plugin_config_check_json_t *config,
                                                  exports_lapwing_plugin_config_check_list_problem_t *problems) {
  const lw_kind *kind = kind_of(*name);
  lw_run run = {.config = zeroed(config->ptr, config->len), .schema = kind ? kind->schema : ""};
  if (kind && kind->validate) kind->validate(&run);
  plugin_string_free(name);
  plugin_string_free(config);
  lapwing_plugin_types_outcome_free(&run.outcome);
  if (run.failed) lapwing_plugin_types_check_error_free(&run.error);
  end_run();
  *problems = run.problems;
}
