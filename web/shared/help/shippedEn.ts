/* Generated from src/curhat/content/help_lines/shipped.json by `make contracts`. Do not edit. */
import type { ShownLine } from './lines';

export default [
  {
    "name": "Orang di dekatmu",
    "what_for": "If you or somebody else is in danger: reach someone near you, or go to the nearest emergency room (IGD) or puskesmas.",
    "channels": [],
    "region": "Anywhere"
  },
  {
    "name": "112",
    "what_for": "Emergencies",
    "channels": [
      {
        "kind": "call",
        "value": "112"
      }
    ],
    "region": "Not in every region yet"
  },
  {
    "name": "119 ext 8",
    "what_for": "Mental health, thoughts of suicide",
    "channels": [
      {
        "kind": "call",
        "value": "119,8"
      },
      {
        "kind": "web",
        "value": "https://healing119.id"
      }
    ],
    "region": "Indonesia",
    "note": "A written answer can take hours. If it is urgent, call."
  },
  {
    "name": "SAPA 129",
    "what_for": "Violence against women and children",
    "channels": [
      {
        "kind": "call",
        "value": "129"
      },
      {
        "kind": "whatsapp",
        "value": "+628111129129"
      }
    ],
    "region": "Indonesia"
  },
  {
    "name": "JakCare",
    "what_for": "Mental health",
    "channels": [
      {
        "kind": "call",
        "value": "0800-1500-119"
      }
    ],
    "hours": "24 hours",
    "region": "Jakarta",
    "is_free": true
  }
] as ShownLine[];
