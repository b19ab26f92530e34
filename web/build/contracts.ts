/**
 * Generates the types of the API and of the realtime frames from contracts/. With --check, the script writes nothing,
 * and fails if the committed types are out of date.
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

function readContract(name: string): unknown {
  return JSON.parse(readFileSync(`${WEB}../contracts/${name}`, 'utf8'));
}

async function generateTypes(document: unknown): Promise<string> {
  return astToString(await openapiTypescript(document as OpenAPI3, { alphabetize: true }));
}

async function generateApi(): Promise<string> {
  return NOTICE + (await generateTypes(readContract('openapi.json')));
}

async function generateFrames(): Promise<string> {
  const contract = readContract('realtime.json') as AsyncApi;
  const { schemas, messages } = contract.components;
  const shapes = await generateTypes({
    openapi: '3.1.0',
    info: { title: 'frames', version: '1' },
    paths: {},
    components: { schemas },
  });
  const maps = Object.entries(contract.channels).map(([role, channel]) => {
    const events = Object.keys(channel.messages)
      .map((id) => messages[id])
      .filter((message) => message?.name !== undefined)
      .map((message) => `  '${message!.name}': Schemas['${dataSchemaOf(message!)}'];`);
    const name = role[0]!.toUpperCase() + role.slice(1);
    return `/** The data of each type of event that a ${role} gets. */\nexport interface ${name}Events {\n${events.join('\n')}\n}\n`;
  });
  return `${NOTICE}${shapes}\nexport type Schemas = components['schemas'];\n\n${maps.join('\n')}`;
}

function dataSchemaOf(message: { payload: { allOf?: Schema[] } }): string {
  const own = message.payload.allOf?.[1] as { properties: { data: { $ref: string } } };
  return own.properties.data.$ref.split('/').at(-1)!;
}

const files = {
  'shared/api/openapi.ts': await generateApi(),
  'shared/realtime/frames.ts': await generateFrames(),
};
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
