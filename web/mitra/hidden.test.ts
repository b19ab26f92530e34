import { expect, test } from 'vitest';
import { topicOf } from './hidden';

test('a notification has the topic of the push about the same news', () => {
  expect(topicOf('message', '01a22f07-c37a-760b-962f-6b8b94b3669f')).toBe('sAaIvB8N6dguWL2uLlLNmnw');
});
