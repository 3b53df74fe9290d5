//! Structs of the wire, each described once.

/// Makes structs with their encoding from a list of fields in the order of the wire.
macro_rules! wire_structs {
    ($($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? { $($field:ident : $type:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Default, PartialEq)]
            #[allow(missing_docs, reason = "fields are named and explained by GlusterFS's .x files")]
            pub struct $name $(<$life>)? {
                $(pub $field: $type,)*
            }

            $crate::protocol::xdr::wire_structs!(@wire $name $($life)? { $($field : $type),* });
        )*
    };
    (@wire $name:ident { $($field:ident : $type:ty),* }) => {
        impl<'a> $crate::protocol::xdr::Wire<'a> for $name {
            $crate::protocol::xdr::wire_structs!(@body 'a { $($field : $type),* });
        }
    };
    (@wire $name:ident $life:lifetime { $($field:ident : $type:ty),* }) => {
        impl<$life> $crate::protocol::xdr::Wire<$life> for $name<$life> {
            $crate::protocol::xdr::wire_structs!(@body $life { $($field : $type),* });
        }
    };
    (@body $life:lifetime { $($field:ident : $type:ty),* }) => {
        fn size(&self) -> usize {
            0 $(+ $crate::protocol::xdr::Wire::size(&self.$field))*
        }

        fn put(&self, to: &mut $crate::protocol::xdr::Writer<'_>) {
            $($crate::protocol::xdr::Wire::put(&self.$field, to);)*
        }

        fn get(
            from: &mut $crate::protocol::xdr::Reader<$life>,
        ) -> Result<Self, $crate::protocol::xdr::XdrError> {
            Ok(Self { $($field: $crate::protocol::xdr::Wire::get(from)?,)* })
        }
    };
}

pub(crate) use wire_structs;
