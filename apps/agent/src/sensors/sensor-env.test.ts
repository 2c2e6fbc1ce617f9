import { expect, test } from "bun:test";
import { nodeIdSchema, sensorNameSchema } from "@fleet/protocol";
import { takeImageEnvironment } from "../process/image-env.ts";
import { sensorEnvironment } from "./sensor-env.ts";

function environment(
  image: Record<string, string>,
  declared: Record<string, string> = {},
  more: { secrets?: string[]; virtualEnv?: string } = {},
) {
  return sensorEnvironment({
    image,
    sensor: sensorNameSchema.parse("radar"),
    nodeId: nodeIdSchema.parse("radar3"),
    coordinatorUrl: "http://c:7700",
    runtimes: "python,node",
    secrets: more.secrets ?? [],
    declared,
    virtualEnv: more.virtualEnv,
  });
}

test("A10: a sensor gets the image's variables as they were, and its node's", () => {
  const image = {
    PATH: "/usr/bin",
    LANG: "",
    HTTP_PROXY: "http://p",
    FLEET_PACKS_DIR: "/packs",
    FLEET_RUNTIME_ENVS_DIR: "/envs",
  };
  expect(environment(image)).toEqual({
    ...image,
    FLEET_AGENT_RUNTIMES: "python,node",
    FLEET_API_URL: "http://c:7700",
    FLEET_NODE_ID: "radar3",
    FLEET_SENSOR: "radar",
  });
});

test("A10: none of the agent's secrets is among them", () => {
  const names = ["", "_FILE", "_PREVIOUS", "_PREVIOUS_FILE"].map(
    (end) => `FLEET_ENROLL_TOKEN${end}`,
  );
  const env = environment(Object.fromEntries(names.map((name) => [name, "secret"])));
  expect(Object.keys(env).filter((name) => names.includes(name))).toEqual([]);
  expect(Object.values(env)).not.toContain("secret");
});

test("A10: a variable that holds an enrolment token under another name is left out, short tokens only as a whole", () => {
  const image = {
    MY_TOKEN: "long-secret",
    ARGS: "--token=long-secret --verbose",
    SHORT: "abc",
    SHORT_PART: "abcdef",
    OTHER: "long-secre",
  };
  const env = environment(image, {}, { secrets: ["long-secret", "abc"] });
  expect(Object.keys(env).filter((name) => name in image)).toEqual(["SHORT_PART", "OTHER"]);
  expect(environment(image, { MINE: "long-secret" }, { secrets: ["long-secret"] })["MINE"]).toBe(
    "long-secret",
  );
});

test("A9: a virtual environment's sensor has it activated, as far as its own PATH", () => {
  const image = { PATH: "/usr/bin", PYTHONHOME: "/usr", VIRTUAL_ENV: "/old" };
  const virtualEnv = "/envs/radar";
  const active = environment(image, {}, { virtualEnv });
  expect(active).toMatchObject({ VIRTUAL_ENV: virtualEnv, PATH: "/envs/radar/bin:/usr/bin" });
  expect("PYTHONHOME" in active).toBe(false);
  expect(environment(image, { PATH: "/own" }, { virtualEnv })["PATH"]).toBe("/envs/radar/bin:/own");
  expect(environment({}, {}, { virtualEnv })["PATH"]).toBe("/envs/radar/bin");
  expect(environment(image)).toMatchObject({ PYTHONHOME: "/usr", VIRTUAL_ENV: "/old" });
});

test("A10: FLEET_PACKS_DIR and FLEET_RUNTIME_ENVS_DIR are given when somebody set them, and not made up", () => {
  expect(environment({})).not.toHaveProperty("FLEET_PACKS_DIR");
  expect(environment({})).not.toHaveProperty("FLEET_RUNTIME_ENVS_DIR");
  expect(environment({ FLEET_PACKS_DIR: "/a" }, { FLEET_PACKS_DIR: "/b" })).toMatchObject({
    FLEET_PACKS_DIR: "/b",
  });
});

test("A5, A10: FLEET_AGENT_RUNTIMES of the image is left untouched; an empty one counts as unset", () => {
  expect(environment({ FLEET_AGENT_RUNTIMES: " Python3 , x" })["FLEET_AGENT_RUNTIMES"]).toBe(
    " Python3 , x",
  );
  for (const unset of ["", " , "])
    expect(environment({ FLEET_AGENT_RUNTIMES: unset })["FLEET_AGENT_RUNTIMES"]).toBe(
      "python,node",
    );
});

test("A10: variables that the sensor declares replace those of the image, but not those that name its node", () => {
  const env = environment({ GAIN: "1" }, { GAIN: "3", FLEET_NODE_ID: "other" });
  expect(env).toMatchObject({ GAIN: "3", FLEET_NODE_ID: "radar3" });
});

test("A10: proxy variables are taken from the agent and kept for its sensors", () => {
  const env = {
    HTTP_PROXY: "a",
    https_proxy: "b",
    ALL_PROXY: "c",
    no_proxy: "d",
    MY_PROXY: "e",
    PATH: "/",
  };
  const image = takeImageEnvironment(env);
  expect(image).toEqual({
    HTTP_PROXY: "a",
    https_proxy: "b",
    ALL_PROXY: "c",
    no_proxy: "d",
    MY_PROXY: "e",
    PATH: "/",
  });
  expect(env).toEqual({ MY_PROXY: "e", PATH: "/" } as never);
});
