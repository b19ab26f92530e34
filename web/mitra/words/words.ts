import { dictionary } from '../../shared/words/language.svelte';
import id from './id';

/** The mitra's own words. */
export const words = dictionary(id, () => import('./en'));
