/**
 * Writes the types of the API and of the realtime frames from contracts/; with --check only says whether those that
 * are committed are up to date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import openapiTypescript, { astToString, type OpenAPI3 } from 'openapi-typescript';
import { WEB } from './clients.ts';

type Schema = Record<string, unknown>;
interface AsyncApi {
  channels: Record<string, { messages: Record<string, { $ref: string }> }>;
  components: {
    schemas: Record<string, Schema>;
    messages: Record<string, { name?: string; payload: { allOf?: Schema[] } }>;
  };
}

const NOTICE = '/* Generated from contracts/ by `make contracts`. Do not edit. */\n\n';

function read(name: string): unknown {
  return JSON.parse(readFileSync(`${WEB}../contracts/${name}`, 'utf8'));
}

async function typesOf(document: unknown): Promise<string> {
  return astToString(await openapiTypescript(document as OpenAPI3, { alphabetize: true }));
}

async function api(): Promise<string> {
  return NOTICE + (await typesOf(read('openapi.json')));
}

async function frames(): Promise<string> {
  const contract = read('realtime.json') as AsyncApi;
  const { schemas, messages } = contract.components;
  const shapes = await typesOf({
    openapi: '3.1.0',
    info: { title: 'frames', version: '1' },
    paths: {},
    components: { schemas },
  });
  const maps = Object.entries(contract.channels).map(([role, channel]) => {
    const events = Object.keys(channel.messages)
      .map((id) => messages[id])
      .filter((message) => message?.name !== undefined)
      .map((message) => `  '${message!.name}': Schemas['${dataOf(message!)}'];`);
    const name = role[0]!.toUpperCase() + role.slice(1);
    return `/** What a ${role} is told: the data of each type of event. */\nexport interface ${name}Events {\n${events.join('\n')}\n}\n`;
  });
  return `${NOTICE}${shapes}\nexport type Schemas = components['schemas'];\n\n${maps.join('\n')}`;
}

function dataOf(message: { payload: { allOf?: Schema[] } }): string {
  const own = message.payload.allOf?.[1] as { properties: { data: { $ref: string } } };
  return own.properties.data.$ref.split('/').at(-1)!;
}

const files = { 'shared/api/openapi.ts': await api(), 'shared/realtime/frames.ts': await frames() };
const isCheck = process.argv.includes('--check');
for (const [file, text] of Object.entries(files)) {
  if (!isCheck) {
    writeFileSync(WEB + file, text);
    console.log(`web/${file} is written`);
  } else if (readFileSync(WEB + file, 'utf8') !== text) {
    console.error(`error: web/${file} is not what contracts/ says; run make contracts and commit it.`);
    process.exitCode = 1;
  }
}
