/*
 * The variables by which the environment of an image could steer ld.so, glibc, Bun or where the program's secrets go. Found
 * by logging what a running program asks getenv for, and from the strings of the binary; look again when Bun or glibc is
 * updated. packages/daemon/src/process/environment.ts turns them back for children and must know the same two rules of case.
 *
 * Each is a prefix of the whole entry, so one that ends with '=' stands for that name alone. All begin with a capital.
 */
#ifndef HIDDEN_H
#define HIDDEN_H

static const char hidden_prefixes[] =
    /* ld.so and glibc (ld.so(8), and the list in its sysdeps/generic/unsecvars.h): preloads, search paths, tunables, code
       from gconv modules, locale and time zone files, malloc's settings */
    "LD_\0"
    "GLIBC_TUNABLES=\0"
    "GCONV_PATH=\0"
    "GETCONF_DIR=\0"
    "LOCPATH=\0"
    "NLSPATH=\0"
    "TZDIR=\0"
    "MALLOC_\0"
    /* which host a name means (resolver(5), host.conf(5), c-ares) */
    "HOSTALIASES=\0"
    "LOCALDOMAIN=\0"
    "RES_OPTIONS=\0"
    "RESOLV_\0"
    "CARES_\0"
    /* Bun and what it took over from Node and libuv: other programs, preloads, debuggers, TLS checks */
    "BUN_\0"
    "NODE_\0"
    "UV_\0"
    "GOMAXPROCS=\0"
    /* JavaScriptCore and its allocators */
    "JSC_\0"
    "JavaScriptCore\0"
    "WTF_\0"
    "WebKit\0"
    "Malloc\0"
    "MIMALLOC_\0"
    /* the libraries inside Bun: certificates, cipher code paths, data files, logs of secrets, the C compiler of bun:ffi */
    "SSL_CERT_\0"
    "SSLKEYLOGFILE=\0"
    "OPENSSL_\0"
    "LSQUIC_\0"
    "ICU_\0"
    "SIMDUTF_\0"
    "GLIBCXX_TUNABLES=\0"
    "SQLITE_\0"
    "CPATH=\0"
    "C_INCLUDE_PATH=\0"
    "LIBRARY_PATH=\0"
    "TCC_\0";

/* And every name that ends so and is of that case throughout: a proxy is a matter of the program's own settings. */
static const char hidden_proxy[] = "_PROXY";
static const char hidden_proxy_lower[] = "_proxy";

/* Whether the name (up to its '=') ends with the suffix, goes on before it, and has no letter between first and last. */
static int names_proxy(const char *v, const char *suffix, char first, char last) {
  unsigned long n = 0, m = sizeof hidden_proxy - 1;
  for (; v[n] && v[n] != '='; n++)
    if (v[n] >= first && v[n] <= last) return 0;
  if (n <= m) return 0;
  for (unsigned long i = 0; i < m; i++)
    if (v[n - m + i] != suffix[i]) return 0;
  return 1;
}

static int steers(const char *v) {
  for (const char *prefix = hidden_prefixes; *prefix; prefix++) {
    if (starts(v, prefix)) return 1;
    while (*prefix) prefix++;
  }
  if (v[0] >= 'A' && v[0] <= 'Z') return names_proxy(v, hidden_proxy, 'a', 'z');
  if (v[0] >= 'a' && v[0] <= 'z') return names_proxy(v, hidden_proxy_lower, 'A', 'Z');
  return 0;
}

/* Renamed, not removed: the first letter becomes its control character, which the program can turn back. */
static void hide_environment(char **envp) {
  for (; *envp; envp++)
    if (steers(*envp)) **envp &= 0x1f;
}

#endif
