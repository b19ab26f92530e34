/**
 * Downloads the person's own data as a file (P.6). The answer can be large and slow, so it is no call of `api`, which
 * waits only some seconds for an answer in JSON.
 */
import { Refused, signedOut } from '../api/client';

export type ExportFormat = 'html' | 'json';

export interface ExportRequest {
  role: 'customer' | 'mitra';
  format: ExportFormat;
  language: 'id' | 'en';
  /** The id of the request of the fresh code, and the code. */
  requestId: string;
  code: string;
}

/** Returns the URL of an export. The page shows times in the device's time zone. */
export function exportPath(request: ExportRequest, zone: string): string {
  const side = request.role === 'customer' ? 'client' : 'mitra';
  const query = new URLSearchParams({ format: request.format, language: request.language, zone });
  return `/api/${side}/me/export?${query.toString()}`;
}

/**
 * Fetches an export, and gives it to the browser as a file. Throws `Refused`. The code is `unreachable` without an answer,
 * and `broken_off` if the answer broke off.
 */
export async function downloadExport(request: ExportRequest): Promise<void> {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  let response: Response;
  try {
    response = await fetch(exportPath(request, zone), {
      headers: { 'X-Fresh-Code': `${request.requestId}:${request.code}` },
    });
  } catch {
    throw new Refused('unreachable', 0);
  }
  if (!response.ok) throw await refusalOf(response);
  let file: Blob;
  try {
    file = await response.blob();
  } catch {
    throw new Refused('broken_off', 0);
  }
  save(file, nameOf(response.headers.get('Content-Disposition')) ?? `curhat.${request.format}`);
}

/** Returns the file name in a Content-Disposition, or undefined. */
export function nameOf(disposition: string | null): string | undefined {
  return /filename="([\w.-]+)"/.exec(disposition ?? '')?.[1];
}

async function refusalOf(response: Response): Promise<Refused> {
  let fields: Record<string, unknown> = {};
  try {
    fields = (await response.json()) as Record<string, unknown>;
  } catch {
    // The page of a proxy has no code.
  }
  const code = typeof fields.code === 'string' ? fields.code : 'failed';
  if (code === 'unauthenticated') signedOut();
  return new Refused(code, response.status, fields);
}

function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // Some browsers read the file after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
