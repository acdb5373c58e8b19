// Calls the Rust client over WebRTC from a page in Chromium, and offers a service to it there. With
// `--automatic ID`, the connection is opened by `getService` of this service.
//
// Prints `DONE <observations>` in JSON, then `READY <id>`: of the signaling service, or with
// `--automatic` of the service. With `--seconds N` too, measures a service of the benchmark instead,
// and prints the figures in JSON.

import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { onTermination, parse, say } from "./peer.mjs";

const options = parse("browser", "automatic", "seconds");
const folder = await mkdtemp(join(tmpdir(), "webrtc-page-"));
const browser = await chromium.launchPersistentContext(folder, {
  executablePath: options.browser,
  // The server forbids scripts of others in its pages.
  bypassCSP: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"],
});

// Calls methods of the Rust service in the page, and returns the observations.
async function exercise(direct) {
  const seen = { caller: await direct.caller() };
  seen.tell = await direct.tell((text) => `heard ${text}`);
  seen.numbers = [];
  for await (const number of await direct.numbers(5)) seen.numbers.push(number);
  try {
    await direct.refuse();
  } catch (error) {
    seen.refuse = String(error).includes("refused on purpose");
  }
  seen.sizes = [];
  for (const size of [1, 60_000, 200_000, 1 << 20]) {
    const echoed = await direct.echo(new Uint8Array(size));
    if (echoed.byteLength === size) seen.sizes.push(size);
  }
  return seen;
}

// Measures a service of the benchmark for `seconds` each, and returns the figures.
async function measure(bench, seconds) {
  const percentiles = (samples) => {
    samples.sort((a, b) => a - b);
    const at = (share) => samples[Math.min(Math.floor(samples.length * share), samples.length - 1)];
    return [1e3 * at(0.5), 1e3 * at(0.99)];
  };
  const repeat = async (call) => {
    const took = [];
    const begin = performance.now();
    do {
      const begun = performance.now();
      await call();
      took.push(performance.now() - begun);
    } while (performance.now() - begin < 1e3 * seconds);
    return took;
  };
  const figures = {};
  for (const [name, tasks] of [["serial", 1], ["parallel", 64]]) {
    const begin = performance.now();
    const took = await Promise.all(
      Array.from({ length: tasks }, () => repeat(() => bench.add(1, 2))),
    );
    figures[`${name}_rate`] = (1e3 * took.flat().length) / (performance.now() - begin);
    figures[`${name}_us`] = percentiles(took.flat());
  }
  for (const size of [1, 16, 100]) {
    const data = new Uint8Array(size << 20);
    const begin = performance.now();
    const took = await repeat(async () => {
      const echoed = await bench.echo(data);
      if (echoed.byteLength !== data.byteLength) throw new Error("other bytes came back");
    });
    figures[`mb_${size}`] = (1e3 * took.length * size) / (performance.now() - begin);
  }
  return figures;
}

async function end(code) {
  await browser.close();
  await rm(folder, { recursive: true, force: true });
  process.exit(code);
}
onTermination(() => end(0));

try {
  const page = await browser.newPage();
  // A page of the server, because WebRTC needs an origin that the browser trusts.
  await page.goto(options["server-url"]);
  const library = createRequire(import.meta.url).resolve("hypha-rpc/dist/hypha-rpc-websocket.min.js");
  await page.addScriptTag({ path: library });
  const connection = {
    server_url: options["server-url"],
    workspace: options.workspace,
    token: options.token,
    client_id: options["client-id"],
  };

  await page.evaluate(`Object.assign(window, { exercise: ${exercise}, measure: ${measure} })`);
  const seen = await page.evaluate(async ([connection, automatic, seconds]) => {
    const { connectToServer, getRTCService } = window.hyphaWebsocketClient;
    const config = {
      ice_servers: [],
      // Chunks of the default size do not fit into a message of the Rust client.
      long_message_chunk_size: 128 * 1024,
      method_timeout: 300,
    };
    if (automatic) {
      connection.webrtc = true;
      connection.webrtc_config = {
        ice_servers: [],
        visibility: "protected",
        require_context: true,
      };
    }
    window.server = await connectToServer(connection);
    if (automatic) {
      const begin = performance.now();
      const direct = await window.server.getService(automatic, { webrtc_config: config });
      if (seconds) {
        await direct.add(1, 2);
        const first_ms = performance.now() - begin;
        if (!direct._webrtc) throw new Error("there is no direct connection");
        return { ...(await window.measure(direct, Number(seconds))), first_ms };
      }
      return { direct: direct._webrtc, ...(await window.exercise(direct)) };
    }
    const peer = await getRTCService(window.server, "rtc", config);
    const seen = await window.exercise(await peer.getService("direct"));
    await peer.disconnect();
    return seen;
  }, [connection, options.automatic, options.seconds]);
  if (options.seconds) {
    say(JSON.stringify(seen));
    await end(0);
  }
  say(`DONE ${JSON.stringify(seen)}`);

  const id = await page.evaluate(async (automatic) => {
    const { registerRTCService } = window.hyphaWebsocketClient;
    const page = await window.server.registerService({
      id: "page",
      config: { visibility: "protected" },
      echo: (data) => data,
      length: (data) => data.byteLength,
      tell: (listener) => listener("news"),
    });
    if (automatic) return page.id;
    const service = await registerRTCService(window.server, "page-rtc", {
      visibility: "protected",
      require_context: true,
      ice_servers: [],
    });
    return service.id;
  }, options.automatic);
  say(`READY ${id}`);
} catch (error) {
  say(`FAILED ${String(error.stack ?? error)}`);
  await end(1);
}
