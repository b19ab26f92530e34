import { expect, test } from 'vitest';
import { exportPath, nameOf } from './download';

const request = { format: 'html', language: 'id', requestId: '1', code: '2' } as const;

test('the address of an export has the side, the form, the language and the zone, and never the code', () => {
  expect(exportPath({ ...request, role: 'customer' }, 'Asia/Makassar')).toBe(
    '/api/client/me/export?format=html&language=id&zone=Asia%2FMakassar',
  );
  expect(exportPath({ ...request, role: 'mitra', format: 'json' }, 'Asia/Jakarta')).toContain(
    '/api/mitra/me/export?format=json',
  );
});

test('the name of the file is the name that the server gave', () => {
  expect(nameOf('attachment; filename="curhat-2026-01-01.html"')).toBe('curhat-2026-01-01.html');
  expect(nameOf('attachment; filename="../x"')).toBeUndefined();
  expect(nameOf(null)).toBeUndefined();
});
