/**
 * Sends the leaves that this device kept over a reload. The store imports this module when the server calls a chat running
 * that the person has left. A module of its own keeps the first load small.
 */
import { sendLeaves } from './leaving';

sendLeaves();
