/** The text of the help card that a mitra sends as an ordinary message (H.3). */
import { safetyWords } from './words';

export function helpCardText(): string {
  return safetyWords().helpCard;
}
