//! Who says what. Texts are everyday requests to a voice assistant with commas inside, so that every voice has pauses of its own;
//! none of the pauses reaches the half second that ends an utterance by default.

/// A voice of espeak-ng and what it says.
pub struct Recipe {
    /// Its name for espeak-ng.
    pub voice: &'static str,
    /// Words per minute.
    pub speed: u16,
    /// 0 to 99; 50 is the voice's own.
    pub pitch: u8,
    /// The words.
    pub text: &'static str,
}

const fn recipe(voice: &'static str, speed: u16, pitch: u8, text: &'static str) -> Recipe {
    Recipe { voice, speed, pitch, text }
}

/// All of them. Mandarin is written in pinyin with tones: the voice that reads characters spells English.
pub const RECIPES: &[Recipe] = &[
    recipe("en-us", 150, 50, "What will the weather be like tomorrow, here in town?"),
    recipe("en-us", 170, 75, "Tell me a short story, about a fox and a hen."),
    recipe("en-us", 135, 30, "Set a timer for ten minutes, please."),
    recipe("en-us", 160, 60, "How far is it to the moon, in miles, and to the sun?"),
    recipe("en-gb", 150, 45, "Good morning, could you read me the news of today?"),
    recipe("en-gb", 165, 80, "Turn all the lights off, and close the blinds in the kitchen."),
    recipe("en-gb-scotland", 150, 40, "Who wrote the song that we heard, just now?"),
    recipe("en-gb-x-rp", 155, 55, "I would like to know, when the next train leaves."),
    recipe("en-029", 150, 65, "Play something quiet, I am going to sleep."),
    recipe("en-us-nyc", 165, 35, "What is nine times twelve, plus four, divided by two?"),
    recipe("cmn-latn-pinyin", 165, 50, "jin1 tian1 tian1 qi4 zen3 me yang4, hui4 xia4 yu3 ma5"),
    recipe("cmn-latn-pinyin", 140, 70, "qing3 gei3 wo3 jiang3 yi2 ge4 gu4 shi5, hao3 ma5"),
    recipe("cmn-latn-pinyin", 160, 35, "ming2 tian1 zao3 shang5 qi1 dian3, jiao4 wo3 qi3 chuang2"),
    recipe("de", 150, 50, "Wie wird das Wetter morgen früh, hier bei uns in der Stadt?"),
    recipe("de", 165, 70, "Erzähl mir bitte etwas, über die Sterne und den Mond."),
    recipe("fr-fr", 155, 50, "Quelle heure est-il maintenant, à Paris, et à quelle heure part le train?"),
    recipe("fr-fr", 150, 72, "Raconte-moi une petite histoire de renard, s'il te plaît."),
    recipe("es", 150, 45, "Pon un temporizador de diez minutos, por favor."),
    recipe("es-419", 160, 68, "Cuéntame un cuento corto, de un zorro."),
    recipe("it", 150, 50, "Che tempo farà domani mattina, qui da noi in città?"),
    recipe("pt-br", 155, 60, "Toque uma música muito calma, para eu dormir bem."),
    recipe("ru", 150, 48, "Какая погода будет завтра, у нас в городе?"),
    recipe("ja", 150, 55, "あしたの てんきを、おしえて ください。"),
    recipe("pl", 150, 42, "Opowiedz mi krótką bajkę, o lisie i kurze."),
];
