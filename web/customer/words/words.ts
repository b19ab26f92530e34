import { dictionary } from '../../shared/words/language.svelte';
import id from './id';

/** The customer's words. */
export const words = dictionary(id, () => import('./en'));
