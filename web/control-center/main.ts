import { start } from '../shared/start';
import App from './App.svelte';
import './desktop.css';
import './words/words';

void start(App);
