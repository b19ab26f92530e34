/**
 * The words of the sign-in, in both languages. They are fetched with the sign-in, which therefore needs no words of the
 * other screens.
 */
import { language } from '../../shared/words/language.svelte';

const id = {
  title: 'Halo, bestie',
  text: 'Masuk dengan nomor HP yang didaftarkan tim Curhat.',
  demoName: (name: string) => `Kak ${name}`,
};

const en: typeof id = {
  title: 'Hello, bestie',
  text: 'Sign in with the phone number that the Curhat team registered.',
  demoName: (name: string) => `Kak ${name}`,
};

export function signInWords(): typeof id {
  return language() === 'en' ? en : id;
}
