/**
 * The table of interpreters Fleet knows: what each is called, where it may lie, and how its version is asked.
 * It is data; detection and the override rules read it. A config file may extend it (`interpreters:`). (A4, A5)
 */

/** One line of the version output that names an interpreter. The first pattern that matches decides. */
export interface VersionPattern {
  /** Group 1 is the raw version; a pattern without one means "it runs, but does not say its version". */
  readonly pattern: RegExp;
  /** What stands behind the name: `cpython`, `pypy`, `busybox`, …; null when nothing more is known. */
  readonly implementation: string | null;
}

export interface Interpreter {
  /** Canonical name, `^[a-z0-9][a-z0-9_-]{0,63}$`. */
  readonly name: string;
  /** Other names for it in variables and config files, lower case. */
  readonly aliases: readonly string[];
  /** File names in order of preference, looked for along the whole search path one after the other; absolute paths are taken as they are. */
  readonly candidates: readonly string[];
  /** Other file names it goes by, with a version in them: `python3.12`. */
  readonly versioned?: RegExp;
  /** Directories looked into after the search path. */
  readonly dirs?: readonly string[];
  /** Where further versions of it are installed; `~` is the home directory, `$NAME` a variable, `*` any part of a name. */
  readonly places?: readonly string[];
  /** Variables of the image that name an installation, with the directory of its programs below it. */
  readonly homes?: readonly { readonly variable: string; readonly bin: string }[];
  readonly versionArgs: readonly string[];
  readonly patterns: readonly VersionPattern[];
  /** Added to the almost empty environment of its version command. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds its version command may take, when not the usual ones. */
  readonly timeoutMs?: number;
  /** Its version command is a slow one (it boots a virtual machine): the higher, the earlier it is started. Default 0. */
  readonly slowness?: number;
  /** Its plain names are programs of one installation (R beside Rscript): the first in a directory stands for all. */
  readonly isOneProgram?: boolean;
  /** Comes from the config, which may call a python whatever it likes. */
  readonly isCustom?: boolean;
  /** The file, not the output, tells which shell this is. */
  readonly shell?: boolean;
}

/** An interpreter as a config file writes it (`interpreters:`); one with a built-in's name replaces the built-in. */
export interface CustomInterpreter {
  readonly name: string;
  readonly aliases?: readonly string[] | undefined;
  readonly candidates: readonly string[];
  /** Default `--version`. */
  readonly version_args?: readonly string[] | undefined;
  /** Source of a regular expression whose group 1 is the version. Default: the first thing that looks like `1.2` or `1.2.3`. */
  readonly pattern?: string | undefined;
}

const ANY_VERSION = /(\d+\.\d+(?:\.\d+)?)/;

/** Prints one line in any POSIX shell, with the version of those that have one in a variable. */
const SHELL_SCRIPT =
  'echo "shell:${BASH_VERSION:+bash $BASH_VERSION}${ZSH_VERSION:+zsh $ZSH_VERSION}${YASH_VERSION:+yash $YASH_VERSION}:"';

/** In the order of the report. */
export const INTERPRETERS: readonly Interpreter[] = [
  {
    name: "shell",
    aliases: ["sh", "bash", "ash", "dash", "posix-shell"],
    candidates: ["sh", "bash", "ash", "dash"],
    dirs: ["/busybox"],
    versionArgs: ["-c", SHELL_SCRIPT],
    patterns: [
      { pattern: /^shell:bash (\d[\w.]*)/m, implementation: "bash" },
      { pattern: /^shell:zsh (\d[\w.]*)/m, implementation: "zsh" },
      { pattern: /^shell:yash (\d[\w.]*)/m, implementation: "yash" },
      { pattern: /^shell::/m, implementation: null },
    ],
    shell: true,
  },
  {
    name: "python",
    aliases: ["python3", "py", "cpython", "pypy", "pypy3"],
    candidates: ["python3", "python", "pypy3"],
    dirs: ["/opt/venv/bin", "/opt/conda/bin", "/opt/bitnami/python/bin", "/opt/python/bin"],
    versioned: /^(?:python|pypy)[23](?:\.\d+)?t?$/,
    places: [
      "$PYENV_ROOT/versions/*/bin",
      "~/.pyenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/python/*/bin",
      "~/.asdf/installs/python/*/bin",
      "$MISE_DATA_DIR/installs/python/*/bin",
      "~/.local/share/mise/installs/python/*/bin",
      "~/.local/share/uv/python/*/bin",
      "/opt/python/*/bin",
      "/usr/local/python/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [
      { pattern: /^Python (\d\S*)[^\n]*\n\[PyPy /m, implementation: "pypy" },
      { pattern: /^GraalPy (\d\S*)/m, implementation: "graalpy" },
      { pattern: /^Python (\d\S*)/m, implementation: "cpython" },
    ],
  },
  {
    name: "node",
    aliases: ["nodejs", "node.js", "js", "javascript"],
    candidates: ["node", "nodejs"],
    dirs: ["/nodejs/bin", "/opt/bitnami/node/bin"],
    versioned: /^node(?:js)?-?\d[\d.]*$/,
    places: [
      "$NVM_DIR/versions/node/*/bin",
      "~/.nvm/versions/node/*/bin",
      "/usr/local/nvm/versions/node/*/bin",
      "~/.nodebrew/node/*/bin",
      "~/.fnm/node-versions/*/installation/bin",
      "~/.local/share/fnm/node-versions/*/installation/bin",
      "$VOLTA_HOME/tools/image/node/*/bin",
      "~/.volta/tools/image/node/*/bin",
      "/usr/local/lib/nodejs/*/bin",
      "/usr/local/n/versions/node/*/bin",
      "$NODENV_ROOT/versions/*/bin",
      "~/.nodenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/nodejs/*/bin",
      "~/.asdf/installs/nodejs/*/bin",
      "$MISE_DATA_DIR/installs/nodejs/*/bin",
      "~/.local/share/mise/installs/nodejs/*/bin",
      "$ASDF_DATA_DIR/installs/node/*/bin",
      "~/.asdf/installs/node/*/bin",
      "$MISE_DATA_DIR/installs/node/*/bin",
      "~/.local/share/mise/installs/node/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [{ pattern: /^v(\d+\.\d+\.\d+\S*)\s*$/m, implementation: "node" }],
    slowness: 1,
  },
  {
    name: "ruby",
    aliases: ["rb", "jruby", "truffleruby"],
    candidates: ["ruby", "jruby", "truffleruby"],
    dirs: ["/opt/bitnami/ruby/bin", "/opt/jruby/bin"],
    versioned: /^(?:j|truffle)?ruby-?\d[\d.]*$/,
    places: [
      "$RBENV_ROOT/versions/*/bin",
      "~/.rbenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/ruby/*/bin",
      "~/.asdf/installs/ruby/*/bin",
      "$MISE_DATA_DIR/installs/ruby/*/bin",
      "~/.local/share/mise/installs/ruby/*/bin",
      "/opt/rubies/*/bin",
      "~/.rubies/*/bin",
      "~/.rvm/rubies/*/bin",
      "/usr/local/rvm/rubies/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [
      { pattern: /^ruby (\d\S*)/m, implementation: "mri" },
      { pattern: /^jruby \S+ \((\d\S*?)\)/m, implementation: "jruby" },
      { pattern: /^truffleruby .*like ruby (\d[\w.]*)/m, implementation: "truffleruby" },
    ],
  },
  {
    name: "go",
    aliases: ["golang"],
    candidates: ["go"],
    dirs: ["/usr/local/go/bin", "/usr/lib/go/bin"],
    homes: [{ variable: "GOROOT", bin: "bin" }],
    versioned: /^go-?1\.\d+(?:\.\d+)?$/,
    places: [
      "/usr/lib/go-*/bin",
      "$GOENV_ROOT/versions/*/bin",
      "~/.goenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/golang/*/go/bin",
      "~/.asdf/installs/golang/*/go/bin",
      "$MISE_DATA_DIR/installs/golang/*/bin",
      "~/.local/share/mise/installs/golang/*/bin",
      "~/.local/share/mise/installs/go/*/bin",
      "~/sdk/*/bin",
    ],
    versionArgs: ["version"],
    // Without these, a go.mod or a settings file could make it fetch another toolchain first.
    env: { GOTOOLCHAIN: "local", GOENV: "off" },
    patterns: [
      { pattern: /^go version go(\d\S*) gccgo/m, implementation: "gccgo" },
      { pattern: /^go version (?:go|devel go)(\d\S*)/m, implementation: "gc" },
    ],
  },
  {
    name: "java",
    aliases: ["jre", "jdk", "jvm", "openjdk"],
    candidates: ["java"],
    dirs: [
      "/opt/java/openjdk/bin",
      "/usr/lib/jvm/default-jvm/bin",
      "/usr/lib/jvm/default-java/bin",
      "/usr/local/openjdk/bin",
    ],
    homes: [{ variable: "JAVA_HOME", bin: "bin" }],
    // The first keeps it from writing a file to /tmp, the second from starting its compilers.
    places: [
      "/usr/lib/jvm/*/bin",
      "/opt/java/*/bin",
      "/usr/java/*/bin",
      "$SDKMAN_DIR/candidates/java/*/bin",
      "~/.sdkman/candidates/java/*/bin",
      "$JENV_ROOT/versions/*/bin",
      "~/.jenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/java/*/bin",
      "~/.asdf/installs/java/*/bin",
      "$MISE_DATA_DIR/installs/java/*/bin",
      "~/.local/share/mise/installs/java/*/bin",
    ],
    versionArgs: ["-XX:-UsePerfData", "-Xint", "-version"],
    patterns: [
      { pattern: /^openjdk version "(\d[^"]*)"[^]*GraalVM/m, implementation: "graalvm" },
      { pattern: /^openjdk version "(\d[^"]*)"[^]*OpenJ9/m, implementation: "openj9" },
      { pattern: /^openjdk version "(\d[^"]*)"/m, implementation: "openjdk" },
      { pattern: /^java version "(\d[^"]*)"/m, implementation: "oracle" },
    ],
    slowness: 3,
  },
  {
    name: "r",
    aliases: ["rscript", "rlang"],
    candidates: ["Rscript", "R"],
    isOneProgram: true,
    places: ["/opt/R/*/bin"],
    versionArgs: ["--version"],
    patterns: [
      {
        pattern: /^(?:Rscript \(R\)|R scripting front-end|R) version (\d\S*)/m,
        implementation: "gnu-r",
      },
    ],
    slowness: 1,
  },
  {
    name: "perl",
    aliases: ["perl5", "pl"],
    candidates: ["perl"],
    versioned: /^perl-?5\.\d+(?:\.\d+)?$/,
    places: [
      "$PLENV_ROOT/versions/*/bin",
      "~/.plenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/perl/*/bin",
      "~/.asdf/installs/perl/*/bin",
      "$MISE_DATA_DIR/installs/perl/*/bin",
      "~/.local/share/mise/installs/perl/*/bin",
      "~/perl5/perlbrew/perls/*/bin",
    ],
    versionArgs: ["-v"],
    patterns: [{ pattern: /^This is perl .*\(v(\d\S*?)\)/m, implementation: "perl5" }],
  },
  {
    name: "php",
    aliases: ["php-cli"],
    candidates: ["php"],
    // -n: without php.ini, whose extensions can be slow or absent.
    versioned: /^php-?[5-9](?:\.?\d+)?$/,
    places: [
      "$PHPENV_ROOT/versions/*/bin",
      "~/.phpenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/php/*/bin",
      "~/.asdf/installs/php/*/bin",
      "$MISE_DATA_DIR/installs/php/*/bin",
      "~/.local/share/mise/installs/php/*/bin",
    ],
    versionArgs: ["-n", "-v"],
    patterns: [{ pattern: /^PHP (\d\S*)/m, implementation: "php" }],
  },
  {
    name: "lua",
    aliases: ["luajit"],
    candidates: ["lua", "lua5.4", "lua5.3", "lua5.2", "lua5.1", "luajit"],
    versioned: /^lua(?:jit)?-?[25](?:\.?\d[\w.]*)?$/,
    places: [
      "$LUAENV_ROOT/versions/*/bin",
      "~/.luaenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/lua/*/bin",
      "~/.asdf/installs/lua/*/bin",
      "$MISE_DATA_DIR/installs/lua/*/bin",
      "~/.local/share/mise/installs/lua/*/bin",
    ],
    versionArgs: ["-v"],
    patterns: [
      { pattern: /^Lua (\d\S*)/m, implementation: "lua" },
      { pattern: /^LuaJIT (\d\S*)/m, implementation: "luajit" },
    ],
  },
  {
    name: "deno",
    aliases: [],
    candidates: ["deno"],
    homes: [{ variable: "DENO_INSTALL", bin: "bin" }],
    places: [
      "$ASDF_DATA_DIR/installs/deno/*/bin",
      "~/.asdf/installs/deno/*/bin",
      "$MISE_DATA_DIR/installs/deno/*/bin",
      "~/.local/share/mise/installs/deno/*/bin",
    ],
    versionArgs: ["--version"],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    patterns: [{ pattern: /^deno (\d\S*)/m, implementation: "deno" }],
    slowness: 1,
  },
  {
    name: "bun",
    aliases: ["bunjs"],
    candidates: ["bun"],
    homes: [{ variable: "BUN_INSTALL", bin: "bin" }],
    places: [
      "$ASDF_DATA_DIR/installs/bun/*/bin",
      "~/.asdf/installs/bun/*/bin",
      "$MISE_DATA_DIR/installs/bun/*/bin",
      "~/.local/share/mise/installs/bun/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [{ pattern: /^(\d+\.\d+\.\d+\S*)\s*$/m, implementation: "bun" }],
  },
  {
    name: "dotnet",
    aliases: [".net", "net", "dotnetcore", "csharp"],
    candidates: ["dotnet"],
    dirs: ["/usr/share/dotnet", "/usr/lib/dotnet"],
    homes: [{ variable: "DOTNET_ROOT", bin: "" }],
    // `--version` is the SDK's and fails where only the runtime is installed.
    versionArgs: ["--list-runtimes"],
    patterns: [
      {
        pattern: /^Microsoft\.NETCore\.App (\d\S*)(?![^]*^Microsoft\.NETCore\.App )/m,
        implementation: "coreclr",
      },
    ],
    slowness: 1,
  },
  {
    name: "elixir",
    aliases: ["ex", "exs"],
    candidates: ["elixir"],
    dirs: ["/opt/elixir/bin"],
    places: [
      "$EXENV_ROOT/versions/*/bin",
      "~/.exenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/elixir/*/bin",
      "~/.asdf/installs/elixir/*/bin",
      "$MISE_DATA_DIR/installs/elixir/*/bin",
      "~/.local/share/mise/installs/elixir/*/bin",
    ],
    versionArgs: ["--version"],
    // One scheduler: those of all CPUs would wait busily beside the other version commands.
    env: { ERL_CRASH_DUMP_SECONDS: "0", ERL_AFLAGS: "+S 1:1 +SDcpu 1:1 +SDio 1" },
    patterns: [{ pattern: /^Elixir (\d\S*)/m, implementation: "beam" }],
    slowness: 4,
  },
  {
    name: "powershell",
    aliases: ["pwsh"],
    candidates: ["pwsh"],
    versionArgs: ["--version"],
    env: { POWERSHELL_TELEMETRY_OPTOUT: "1", POWERSHELL_UPDATECHECK: "Off" },
    patterns: [{ pattern: /^PowerShell (\d\S*)/m, implementation: "powershell" }],
    slowness: 2,
  },
  {
    name: "octave",
    aliases: ["octave-cli"],
    candidates: ["octave-cli", "octave"],
    isOneProgram: true,
    versionArgs: ["--version"],
    patterns: [{ pattern: /^GNU Octave, version (\d\S*)/m, implementation: "octave" }],
  },
];

/** A config file's interpreter in the form of the table. Throws a SyntaxError when its pattern is not a regular expression. */
export function fromCustom(custom: CustomInterpreter): Interpreter {
  return {
    name: custom.name,
    isCustom: true,
    aliases: custom.aliases ?? [],
    candidates: custom.candidates,
    versionArgs: custom.version_args ?? ["--version"],
    patterns: [
      {
        pattern: custom.pattern === undefined ? ANY_VERSION : new RegExp(custom.pattern, "m"),
        implementation: null,
      },
    ],
  };
}
