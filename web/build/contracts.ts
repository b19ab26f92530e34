/**
 * Generates the types of the API and of the realtime frames from contracts/, and the help lines of the bundle from the
 * list that the server ships. With --check, the script writes nothing, and fails if a committed file is out of date.
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

interface ShippedLine {
  id: string;
  kind: string;
  name: string;
  what_for: Record<Language, string>;
  channels: object[];
  hours: Record<Language, string> | null;
  region: Record<Language, string>;
  is_free: boolean | null;
  note: Record<Language, string> | null;
  verified_at: string | null;
}
type Language = 'id' | 'en';

/**
 * Returns the module with the help lines of one language. The list is part of the first load, so it has only what the
 * card shows, and no field that is null.
 */
function generateHelpLines(language: Language): string {
  const shipped = JSON.parse(
    readFileSync(`${WEB}../src/curhat/content/help_lines/shipped.json`, 'utf8'),
  ) as ShippedLine[];
  const shown = shipped.map((line) => ({
    name: line.name,
    what_for: line.what_for[language],
    channels: line.channels,
    hours: line.hours?.[language],
    region: line.region[language],
    is_free: line.is_free ?? undefined,
    note: line.note?.[language],
    verified_at: line.verified_at ?? undefined,
  }));
  return `/* Generated from src/curhat/content/help_lines/shipped.json by \`make contracts\`. Do not edit. */
import type { ShownLine } from './lines';

export default ${JSON.stringify(shown, null, 2)} as ShownLine[];
`;
}

const files = {
  'shared/help/shippedId.ts': generateHelpLines('id'),
  'shared/help/shippedEn.ts': generateHelpLines('en'),
  'shared/api/openapi.ts': await generateApi(),
  'shared/realtime/frames.ts': await generateFrames(),
};
const isCheck = process.argv.includes('--check');
for (const [file, text] of Object.entries(files)) {
  if (!isCheck) {
    writeFileSync(WEB + file, text);
    console.log(`web/${file} is written`);
  } else if (readFileSync(WEB + file, 'utf8') !== text) {
    console.error(`error: web/${file} is not what its source says; run make contracts and commit it.`);
    process.exitCode = 1;
  }
}
