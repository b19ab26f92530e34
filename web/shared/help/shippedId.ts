/* Generated from src/curhat/content/help_lines/shipped.json by `make contracts`. Do not edit. */
import type { ShownLine } from './lines';

export default [
  {
    "name": "Orang di dekatmu",
    "what_for": "Kalau kamu atau orang lain dalam bahaya: hubungi orang di dekatmu, atau pergi ke IGD atau puskesmas terdekat.",
    "channels": [],
    "region": "Di mana saja"
  },
  {
    "name": "112",
    "what_for": "Keadaan darurat",
    "channels": [
      {
        "kind": "call",
        "value": "112"
      }
    ],
    "region": "Belum di semua daerah"
  },
  {
    "name": "119 ext 8",
    "what_for": "Kesehatan jiwa, pikiran untuk bunuh diri",
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
    "note": "Balasan tertulis bisa berjam-jam. Kalau mendesak, telepon."
  },
  {
    "name": "SAPA 129",
    "what_for": "Kekerasan terhadap perempuan dan anak",
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
    "what_for": "Kesehatan jiwa",
    "channels": [
      {
        "kind": "call",
        "value": "0800-1500-119"
      }
    ],
    "hours": "24 jam",
    "region": "Jakarta",
    "is_free": true
  }
] as ShownLine[];
