import { expect, test } from "bun:test";
import { nodeIdSchema, sensorNameSchema } from "@fleet/protocol";
import { takeImageEnvironment } from "./image-env.ts";
import { sensorEnvironment } from "./sensor-env.ts";

function environment(image: Record<string, string>, declared: Record<string, string> = {}) {
  return sensorEnvironment({
    image,
    sensor: sensorNameSchema.parse("radar"),
    nodeId: nodeIdSchema.parse("radar3"),
    coordinatorUrl: "http://c:7700",
    runtimes: "python,node",
    declared,
  });
}

test("a sensor gets the image's variables as they were, and its node's", () => {
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

test("none of the agent's secrets is among them", () => {
  const names = ["", "_FILE", "_PREVIOUS", "_PREVIOUS_FILE"].map(
    (end) => `FLEET_ENROLL_TOKEN${end}`,
  );
  const env = environment(Object.fromEntries(names.map((name) => [name, "secret"])));
  expect(Object.keys(env).filter((name) => names.includes(name))).toEqual([]);
  expect(Object.values(env)).not.toContain("secret");
});

test("FLEET_AGENT_RUNTIMES of the image is left untouched; an empty one counts as unset", () => {
  expect(environment({ FLEET_AGENT_RUNTIMES: " Python3 , x" })["FLEET_AGENT_RUNTIMES"]).toBe(
    " Python3 , x",
  );
  expect(environment({ FLEET_AGENT_RUNTIMES: "" })["FLEET_AGENT_RUNTIMES"]).toBe("python,node");
});

test("what the sensor declares wins over the image, not over what ties it to its node", () => {
  const env = environment({ GAIN: "1" }, { GAIN: "3", FLEET_NODE_ID: "other" });
  expect(env).toMatchObject({ GAIN: "3", FLEET_NODE_ID: "radar3" });
});

test("proxy variables are taken from the agent and kept for its sensors", () => {
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
