/** The mitra's operations about reports and notices. */
import { api } from '../shared/api/client';
import type { SafetyApi } from '../shared/safety/api';

export const safetyApi: SafetyApi = {
  side: 'mitra',
  report: (session_id, body, headers) =>
    api.post('/api/mitra/sessions/{session_id}/report', { path: { session_id }, headers, body }),
  fetchReports: (query) => api.get('/api/mitra/reports', { query }),
  fetchNotices: (query) => api.get('/api/mitra/notices', { query }),
  acknowledge: (notice_id) => api.post('/api/mitra/notices/{notice_id}/acknowledge', { path: { notice_id } }),
  appeal: (notice_id, text, headers) =>
    api.post('/api/mitra/notices/{notice_id}/appeal', { path: { notice_id }, headers, body: { text } }),
};
