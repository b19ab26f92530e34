import { start } from '../shared/start';
import App from './App.svelte';
import './words/words';

void start(App);
