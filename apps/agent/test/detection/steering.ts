/**
 * Variables, and the files they name, by which an image influences the start of its interpreters: each leaves a trace, fails or
 * prints another version. A version command must see none of them. (A4)
 */

const TRACE = "/hostile/was-run";

/** `files` are created in /hostile. */
export const STEERING: {
  readonly env: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, string>>;
} = {
  env: {
    LD_PRELOAD: "/hostile/missing.so",
    LD_LIBRARY_PATH: "/hostile",
    BASH_ENV: "/hostile/trace.sh",
    ENV: "/hostile/trace.sh",
    SHELLOPTS: "noexec",
    PYTHONHOME: "/hostile",
    PYTHONPATH: "/hostile",
    PYTHONSTARTUP: "/hostile/trace.py",
    PYTHONMALLOC: "nonsense",
    NODE_OPTIONS: "--require /hostile/trace.js",
    RUBYOPT: "-r/hostile/trace.rb",
    RUBYLIB: "/hostile",
    GOFLAGS: "-nonsense",
    GOTOOLCHAIN: "go9.9.9",
    GOENV: "/hostile/missing",
    JAVA_TOOL_OPTIONS: "-Xmx1k",
    _JAVA_OPTIONS: "-XX:+Nonsense",
    JDK_JAVA_OPTIONS: "--nonsense",
    CLASSPATH: "/hostile",
    R_HOME: "/hostile",
    R_ENVIRON: "/hostile/trace.sh",
    R_PROFILE: "/hostile/trace.R",
    PERL5OPT: "-Mtrace",
    PERL5LIB: "/hostile",
    PHPRC: "/hostile",
    PHP_INI_SCAN_DIR: "/hostile",
    LUA_INIT: `os.execute("echo lua >>${TRACE}") os.exit(3)`,
    LUA_INIT_5_4: "error('steered')",
    ERL_FLAGS: "-eval halt(3).",
    ERL_ZFLAGS: "-eval halt(3).",
    ELIXIR_ERL_OPTIONS: "-eval halt(3).",
    LANG: "hostile",
    LC_ALL: "hostile",
  },
  files: {
    "libc.so.6": "garbage",
    "php.ini": "; nothing\nextension=/hostile/missing.so\n",
    "platform.py": "raise SystemExit(3)\n",
    "sitecustomize.py": `open("${TRACE}", "a").write("python\\n")\n`,
    "trace.R": `cat("r\\n", file="${TRACE}", append=TRUE)\nq(status=3)\n`,
    "trace.js": `require("node:fs").appendFileSync("${TRACE}", "node\\n");\nprocess.exit(3);\n`,
    "trace.pm": `open my $f, ">>", "${TRACE}"; print $f "perl\\n"; exit 3;\n`,
    "trace.py": `open("${TRACE}", "a").write("python\\n")\n`,
    "trace.rb": `File.write("${TRACE}", "ruby\\n", mode: "a")\nexit 3\n`,
    "trace.sh": `echo shell >>${TRACE}\nexit 3\n`,
  },
};
