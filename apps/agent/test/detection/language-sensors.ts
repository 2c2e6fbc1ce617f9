/** A sensor in each language that numbers its frames, without any library. */

/** The sensor of one language: its file and text; `runtime` is the agent's name of the language. */
export interface LanguageSensor {
  readonly runtime: string;
  readonly file: string;
  readonly text: string;
}

const START = 1_783_500_000_000;
/** A frame with %d for its time and number. */
const FRAME = '{"timestamp":%d,"delay":[%d],"doppler":[0],"snr":[1]}';
const ESCAPED = FRAME.replaceAll('"', '\\"');

export const LANGUAGE_SENSORS: readonly LanguageSensor[] = [
  {
    runtime: "shell",
    file: "sensor.sh",
    text: `i=0
while :; do
  i=$((i + 1))
  printf '${FRAME}\\n' $((${START} + i)) $i
  sleep 0.05
done
`,
  },
  {
    runtime: "python",
    file: "sensor.py",
    text: `import itertools, time
for i in itertools.count(1):
    print('${FRAME}' % (${START} + i, i), flush=True)
    time.sleep(0.05)
`,
  },
  {
    runtime: "node",
    file: "sensor.js",
    text: `const { format } = require("node:util");
let i = 0;
setInterval(() => console.log(format('${FRAME}', ${START} + ++i, i)), 50);
`,
  },
  {
    runtime: "ruby",
    file: "sensor.rb",
    text: `$stdout.sync = true
1.step do |i|
  puts format('${FRAME}', ${START} + i, i)
  sleep 0.05
end
`,
  },
  {
    runtime: "java",
    file: "Sensor.java",
    text: `public class Sensor {
  public static void main(String[] args) throws InterruptedException {
    for (long i = 1;; i++) {
      System.out.printf("${ESCAPED}%n", ${START}L + i, i);
      System.out.flush();
      Thread.sleep(50);
    }
  }
}
`,
  },
  {
    runtime: "r",
    file: "sensor.R",
    text: `i <- 0
repeat {
  i <- i + 1
  cat(sprintf('${FRAME.replaceAll("%d", "%.0f")}\\n', ${START} + i, i))
  flush(stdout())
  Sys.sleep(0.05)
}
`,
  },
  {
    runtime: "perl",
    file: "sensor.pl",
    text: `$| = 1;
for (my $i = 1; ; $i++) {
  printf qq(${FRAME}\\n), ${START} + $i, $i;
  select(undef, undef, undef, 0.05);
}
`,
  },
  {
    runtime: "php",
    file: "sensor.php",
    text: `<?php
for ($i = 1; ; $i++) {
  printf('${FRAME}' . "\\n", ${START} + $i, $i);
  usleep(50000);
}
`,
  },
  {
    runtime: "lua",
    file: "sensor.lua",
    text: `io.stdout:setvbuf("line")
local i = 0
while true do
  i = i + 1
  print(string.format('${FRAME.replaceAll("%d", "%.0f")}', ${START} + i, i))
  os.execute("sleep 0.05")
end
`,
  },
  {
    runtime: "elixir",
    file: "sensor.exs",
    text: `Stream.iterate(1, &(&1 + 1))
|> Enum.each(fn i ->
  :io.format("${ESCAPED.replaceAll("%d", "~B")}~n", [${START} + i, i])
  Process.sleep(50)
end)
`,
  },
];
