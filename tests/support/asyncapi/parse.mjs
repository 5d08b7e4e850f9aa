// Parses the AsyncAPI document that it is given with the official parser; prints what it finds as JSON.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

const [installed, file] = process.argv.slice(2);
const { Parser } = createRequire(join(installed, "package.json"))("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(await readFile(file, "utf8"), { source: file });
const found = diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path: path.join(".") }));
const messages = document?.allMessages().all() ?? [];
const told = messages.map((each) => ({ name: each.name(), payload: each.payload()?.json() }));
process.stdout.write(JSON.stringify({ version: document?.version() ?? null, diagnostics: found, messages: told }));
