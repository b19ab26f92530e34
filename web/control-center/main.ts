import { start } from '../shared/start';
import App from './App.svelte';
import './look.css';
import './words/words';

void start(App);
