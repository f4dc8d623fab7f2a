//! The sums that the sources and the result must have. Sources: two packages of OpenAI's Whisper base (MIT licence) in
//! CTranslate2 form, split in two because package indexes bound the size of a file.

use crate::block::Form;

/// SHA-256 of the wheels we know.
pub const WHEELS: [&str; 2] = [
    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
];

/// SHA-256 that those wheels give in each form.
pub const fn result(form: Form) -> &'static str {
    match form {
        Form::F16 => "8d78d460605106728323df7c1d103d5749e1d16c08e9f4fd2ed9bb4ebe84cc60",
        Form::Q8_0 => "f85d8c7315199570e821dde83c26cbafb3c9d08664f0c774e1907cb5ef72b301",
        Form::Q5_1 => "610f94a192922b9d4bc00ffedd275c45e9687df5276712a119cda0c24a506c41",
    }
}
