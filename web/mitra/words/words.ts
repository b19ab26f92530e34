import { dictionary } from '../../shared/words/language.svelte';
import id from './id';

/** The words of the mitra's client. */
export const words = dictionary(id, () => import('./en'), {
  id: () => import('./idScreens'),
  en: () => import('./enScreens'),
});
