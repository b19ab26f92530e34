/** The customer's operations about reports and notices. */
import { api } from '../shared/api/client';
import type { SafetyApi } from '../shared/safety/api';

export const safetyApi: SafetyApi = {
  side: 'customer',
  report: (session_id, body, headers) =>
    api.post('/api/client/sessions/{session_id}/report', { path: { session_id }, headers, body }),
  fetchReports: (query) => api.get('/api/client/reports', { query }),
  fetchNotices: (query) => api.get('/api/client/notices', { query }),
  acknowledge: (notice_id) =>
    api.post('/api/client/notices/{notice_id}/acknowledge', { path: { notice_id } }),
  appeal: (notice_id, text, headers) =>
    api.post('/api/client/notices/{notice_id}/appeal', { path: { notice_id }, headers, body: { text } }),
};
