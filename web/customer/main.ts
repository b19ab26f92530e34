import { start } from '../shared/start';
import App from './App.svelte';

void start(App);
